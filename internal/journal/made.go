package journal

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/go-json-experiment/json"
	lru "github.com/hashicorp/golang-lru/v2"
)

// A contact history remembers a bounded number of decisions. If a player has more, only
// the journal knows whether an older event was decided on. madeBy indexes the journal's
// decisions about such a player in memory. The first lookup reads the shard's stream,
// later ones only the entries that other processes have recorded since.
//
// Invariant: an answer is as current as the head that the batch knows. That suffices,
// because the script records nothing if the head has changed, and the batch looks again.
type madeBy struct {
	keyName  string // a player who comes back after an erasure has another
	upTo     uint64 // the last indexed entry
	from     time.Time
	new, old map[uint64]uint64 // decision's hash → sequence number: since from, and the day before
	n        atomic.Int64
}

const (
	madePlayers = 256
	madeMost    = 1 << 18 // decisions of all players, about 12 MB
	madeFor     = 24 * time.Hour
)

func newMade() *lru.Cache[string, *madeBy] {
	c, err := lru.New[string, *madeBy](madePlayers)
	if err != nil { // only for a size below 1
		panic(err)
	}
	return c
}

func (m *madeBy) add(decision string, seq uint64, at time.Time) {
	if at.Sub(m.from) > madeFor {
		m.old, m.new, m.from = m.new, map[uint64]uint64{}, at
	}
	m.new[xxhash.Sum64String(decision)] = seq
	m.n.Store(int64(len(m.new) + len(m.old)))
}

func (m *madeBy) find(decision string) (seq uint64, ok bool) {
	key := xxhash.Sum64String(decision)
	if seq, ok = m.new[key]; !ok {
		seq, ok = m.old[key]
	}
	return seq, ok
}

// recorded looks a decision about the batch's player up in the stream.
func (b *batch) recorded(ctx context.Context, decision string) (seq uint64, ok bool, err error) {
	if b.who.version == "" {
		return 0, false, nil // there is no contact history, so no entry either
	}
	m, known := b.j.made.Get(b.id)
	if !known || m.keyName != b.who.keyName {
		m = &madeBy{keyName: b.who.keyName, new: map[uint64]uint64{}}
		b.j.made.Add(b.id, m)
	}
	if m.upTo < b.h.seq && m.n.Load() < madeMost {
		if err := b.j.Each(ctx, b.shard, m.upTo+1, true, m.take); err != nil && !errors.Is(err, errMadeFull) {
			return 0, false, err
		}
		b.j.boundMade()
	}
	if m.n.Load() < madeMost {
		seq, ok = m.find(decision)
		return seq, ok, nil
	}
	e, _, err := b.j.Find(ctx, Segments{}, decision)
	if errors.Is(err, ErrNotFound) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	return e.Seq, true, nil
}

var errMadeFull = errors.New("journal: too many decisions to index")

// take indexes an entry of the player's shard.
func (m *madeBy) take(e *Entry) error {
	m.upTo = e.Seq
	if e.Kind != KindDecision || e.KeyName != m.keyName {
		return nil
	}
	var open struct {
		Decision string `json:"decision"`
	}
	if err := json.Unmarshal(e.Open, &open); err != nil {
		return nil //nolint:nilerr // not an object, hence not a decision
	}
	m.add(open.Decision, e.Seq, e.Time)
	if m.n.Load() >= madeMost {
		return errMadeFull
	}
	return nil
}

// note indexes the entries that the batch has just recorded, up to seq, if the index has
// all entries before them.
func (b *batch) note(seq uint64) {
	m, ok := b.j.made.Peek(b.id)
	if !ok || m.keyName != b.who.keyName || m.upTo != b.h.seq {
		return
	}
	for _, c := range b.calls {
		if c.draft != nil && c.draft.Kind == KindDecision {
			m.add(c.draft.Decision, c.seq, c.draft.Time)
		}
	}
	m.upTo = seq
}

// boundMade drops the players that were used least recently until the indexes fit into
// madeMost. If a single player exceeds it, recorded no longer uses that index.
func (j *Journal) boundMade() {
	n := int64(0)
	for _, m := range j.made.Values() {
		n += m.n.Load()
	}
	for n > madeMost && j.made.Len() > 1 {
		if _, m, ok := j.made.RemoveOldest(); ok {
			n -= m.n.Load()
		}
	}
}
