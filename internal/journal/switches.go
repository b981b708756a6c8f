package journal

import (
	"context"
	"errors"
	"sort"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"

	"pitboss/internal/redisdb"
	"pitboss/internal/repeat"
)

// switchesKey is the hash of kill switches that are on, by name.
const switchesKey = "{ops}:switches"

// SwitchChange is the turning of a kill switch, as it is in the journal.
type SwitchChange struct {
	Switch string    `json:"switch"` // what/name, e.g. action/free_spins
	On     bool      `json:"on"`
	By     string    `json:"by"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
	// Approved names the person who approved turning it off, if that takes two.
	Approved string `json:"approved,omitzero"`
}

// Turn turns a kill switch and journals who did so and why. Every instance of decide acts
// on it within switchPoll.
func (j *Journal) Turn(ctx context.Context, c SwitchChange) error {
	raw, err := json.Marshal(c)
	if err != nil {
		return failed("switch", err)
	}
	// The switch comes first: stopping must not wait for the journal.
	if c.On {
		err = j.rdb.HSet(ctx, switchesKey, c.Switch, raw).Err()
	} else {
		err = j.rdb.HDel(ctx, switchesKey, c.Switch).Err()
	}
	if err != nil {
		return failed("switch", err)
	}
	return j.recordSwitch(ctx, c)
}

func (j *Journal) recordSwitch(ctx context.Context, c SwitchChange) error {
	return j.recordJSON(ctx, "switch", KindSwitch, c.At, c)
}

// ErrStoppedAnew refuses to turn off a switch that was turned on again after that was
// proposed.
var ErrStoppedAnew = errors.New("journal: it was stopped again after this was proposed: propose it again")

// TurnOff turns a switch off, as proposed at a time, unless it was turned on again since
// then. It is idempotent.
func (j *Journal) TurnOff(ctx context.Context, c SwitchChange, proposed time.Time) error {
	raw, err := j.rdb.HGet(ctx, switchesKey, c.Switch).Result()
	if err != nil && !errors.Is(err, redisdb.Nil) {
		return failed("switch", err)
	}
	if err == nil {
		var on SwitchChange
		if json.Unmarshal([]byte(raw), &on) == nil && on.At.After(proposed) {
			return ErrStoppedAnew
		}
		off, err := j.swap(ctx, switchesKey, switchesKey, c.Switch, raw, "")
		if err != nil {
			return failed("switch", err)
		}
		if !off {
			return ErrStoppedAnew
		}
	}
	return j.recordSwitch(ctx, c)
}

// Switches lists the kill switches that are on.
func (j *Journal) Switches(ctx context.Context) ([]SwitchChange, error) {
	all, err := j.rdb.HGetAll(ctx, switchesKey).Result()
	if err != nil {
		return nil, failed("switches", err)
	}
	out := make([]SwitchChange, 0, len(all))
	for name, raw := range all {
		var c SwitchChange
		if err := json.Unmarshal([]byte(raw), &c); err != nil {
			c.On = true // unreadable, but its presence means that it is on
		}
		c.Switch = name
		out = append(out, c)
	}
	sort.Slice(out, func(a, b int) bool { return out[a].Switch < out[b].Switch })
	return out, nil
}

// switchPoll is how often the switches are read.
const switchPoll = 250 * time.Millisecond

// SwitchBoard keeps an up-to-date copy of the kill switches that are on.
type SwitchBoard struct {
	journal *Journal
	last    atomic.Pointer[reading] // nil: never read
}

// reading is one result of reading the switches.
type reading struct {
	on []string
	at time.Time // has a monotonic reading: setting the machine's clock back must not make it look fresh
}

// Board returns a SwitchBoard after one attempt to read the switches.
func (j *Journal) Board(ctx context.Context) *SwitchBoard {
	b := &SwitchBoard{journal: j}
	b.refresh(ctx)
	return b
}

// Follow reads the switches until ctx ends.
func (b *SwitchBoard) Follow(ctx context.Context) {
	for range repeat.After(ctx, switchPoll) {
		b.refresh(ctx)
	}
}

func (b *SwitchBoard) refresh(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, switchPoll*2)
	defer cancel()
	at := time.Now()
	names, err := b.journal.rdb.HKeys(ctx, switchesKey).Result()
	if err != nil {
		return
	}
	sort.Strings(names)
	b.last.Store(&reading{names, at})
}

// On lists the switches that are on, sorted. ok is false if they were not read within the
// last second, so that it is unknown what to stop.
func (b *SwitchBoard) On() (names []string, ok bool) {
	last := b.last.Load()
	if last == nil || time.Since(last.at) > time.Second {
		return nil, false
	}
	return last.on, true
}

// Current is On, but reads the switches again if the last reading is too old, as after the
// process was suspended.
func (b *SwitchBoard) Current(ctx context.Context) ([]string, bool) {
	if names, ok := b.On(); ok {
		return names, true
	}
	b.refresh(ctx)
	return b.On()
}

// RecordOps records an entry that is not about a player.
func (j *Journal) RecordOps(ctx context.Context, d *Draft) error { return j.recordIn(ctx, Ops, d) }

// recordIn records an entry in Ops or Labels.
func (j *Journal) recordIn(ctx context.Context, shard int, d *Draft) error {
	h, k := j.head(shard), &call{draft: d}
	h.calls.Do(k, func(waiting []*call) {
		for _, c := range waiting {
			c.err = j.recordOne(context.WithoutCancel(ctx), shard, h, c.draft)
		}
	})
	return k.err
}

func (j *Journal) recordOne(ctx context.Context, shard int, h *head, d *Draft) error {
	for range attempts {
		e := Entry{Shard: shard, Seq: h.seq + 1, Time: d.Time, Kind: d.Kind, Open: d.Open}
		raw := e.bytes(nil)
		hash := link(h.hash, raw)
		changed, err := j.send(ctx, shard, tag(shard)+":p", tag(shard)+":c", []any{"*", "*", headBytes(h.seq, h.hash), "",
			headBytes(e.Seq, hash), "", "", streamID(e.Seq), raw, hash[:], "", ""})
		if err != nil {
			h.forget()
			return err
		}
		if changed == nil {
			h.seq, h.hash = e.Seq, hash
			return nil
		}
		h.learn(changed.head)
	}
	return ErrConflict
}
