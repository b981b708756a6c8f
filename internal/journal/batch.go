package journal

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"

	"pitboss/internal/coalesce"
	"pitboss/internal/player"
	"pitboss/internal/redisdb"
)

// Changes to one shard are recorded by one goroutine at a time, since only one
// entry can be the next in the chain. What waits meanwhile is taken together:
// all changes about one player are decided in order, each on the contact
// history that the one before it leaves, and recorded by one script.
//
// Invariants:
//   - Nothing is recorded unless the script finds the versions of state and
//     contact history and the chain's head that the batch was decided on.
//   - If only the state has moved on, what was decided may stand, but only by
//     the word of Change.Same about the state that was decided on and the
//     current one, and only if the former was read during this call.
//     The script then checks the current version, so nothing slips in between.
//   - If contact history or head have changed, all of it is decided again.
//   - That there is nothing to record, since an event was decided on before or may
//     not be decided on, stands only if Redis has the contact history that says so:
//     a failover or an erasure may have removed what this process remembers.
//
// Players of one shard are not recorded by one script: with 4,096 shards two
// busy ones seldom share one, and each batch would conflict when any of its
// players does.

const (
	// batchMost bounds a batch, so that what waits behind it waits for a few
	// milliseconds at most.
	batchMost = 64
	// attempts bounds how often one batch is sent.
	attempts = 24
)

// ErrConflict means that what a decision rests on kept changing. It is
// retryable.
var ErrConflict = errors.New("journal: what was decided on kept changing")

// head is what this process last saw of a shard's chain. Only the goroutine
// that calls holds touches seq and hash.
type head struct {
	calls *coalesce.Group[*call]
	seq   uint64
	hash  Hash
}

func (j *Journal) head(shard int) *head {
	if shard < 0 {
		shard = player.Shards - 1 - shard
	}
	p := &j.heads[shard]
	if h := p.Load(); h != nil {
		return h
	}
	p.CompareAndSwap(nil, &head{calls: coalesce.New[*call](1, batchMost)})
	return p.Load()
}

// forget makes the next try read the head.
func (h *head) forget() { h.seq, h.hash = 0, Hash{} }

// Change asks for an entry about a player.
type Change struct {
	Player string
	// Version of the state that the caller knows, or Anew or Present.
	Version player.Version
	// Decide is called with what the decision rests on, again after a conflict.
	// A nil Draft records nothing. It may be called by another goroutine, but
	// never concurrently with other decisions about players of the shard.
	Decide func(View) (*Draft, error)
	// Same reports whether what was decided on one state may be recorded although
	// the state is now another. Nil: it may not.
	Same func(was, is *State) bool
}

// State is a player's state at one version; the zero Version means that there
// is no such player.
type State struct {
	Version player.Version
	Bytes   []byte
	// Decoded is the caller's: what it made of Bytes, for the other decisions of
	// the batch.
	Decoded any
}

// call is a Change under way.
type call struct {
	Change
	draft *Draft
	seq   uint64
	err   error
}

// Submit records a change and returns the entry's sequence number; 0 if there
// was nothing to record.
func (j *Journal) Submit(ctx context.Context, c Change) (seq uint64, err error) {
	shard := player.Shard(c.Player)
	h, k := j.head(shard), &call{Change: c}
	h.calls.Do(k, func(waiting []*call) { // with other callers' changes in it
		j.record(context.WithoutCancel(ctx), shard, h, waiting)
	})
	return k.seq, k.err
}

// Record is Submit of a change for which no other state will do.
func (j *Journal) Record(ctx context.Context, id string, version player.Version, decide func(View) (*Draft, error)) (seq uint64, err error) {
	return j.Submit(ctx, Change{Player: id, Version: version, Decide: decide})
}

// check is the kind of check that a change asks of the state: changes that ask for the same
// one can be recorded together.
func (c *Change) check() player.Version {
	if c.Version == Anew || c.Version == Present {
		return c.Version
	}
	return player.Version{}
}

// record splits what waited into batches. Those that rest on no version go
// first: an exclusion must not wait for decisions that it is to stop.
func (j *Journal) record(ctx context.Context, shard int, h *head, waiting []*call) {
	slices.SortStableFunc(waiting, func(a, b *call) int {
		x, y := a.check(), b.check()
		if c := -slices.Compare(x[:], y[:]); c != 0 {
			return c
		}
		return strings.Compare(a.Player, b.Player)
	})
	for len(waiting) > 0 {
		n := 1
		for n < len(waiting) && waiting[n].Player == waiting[0].Player && waiting[n].check() == waiting[0].check() {
			n++
		}
		b := &batch{j: j, shard: shard, h: h, id: waiting[0].Player, calls: waiting[:n]}
		b.record(ctx)
		waiting = waiting[n:]
	}
}

// batch is changes about one player that are recorded together.
type batch struct {
	j     *Journal
	shard int
	h     *head
	id    string
	calls []*call

	who   *known
	state *State // the current one; nil: the one that the only call names, for all we know
}

// record sets seq or err of every call.
func (b *batch) record(ctx context.Context) {
	defer func() {
		if r := recover(); r != nil {
			b.fail(fmt.Errorf("journal: record panicked: %v\n%s", r, debug.Stack()))
		}
	}()
	b.who = b.j.known(b.id)
	if versioned := b.calls[0].check() == (player.Version{}); versioned {
		if len(b.calls) > 1 || b.j.moved.above(lookFrom) {
			if err := b.look(ctx); err != nil {
				b.fail(err)
				return
			}
		}
		defer func() {
			for _, c := range b.calls {
				b.j.moved.add(b.fresh(c))
			}
		}()
	}
	keep := false
	for range attempts {
		if !keep && !b.decide(ctx) {
			stands, err := b.confirm(ctx)
			if err != nil {
				b.fail(err)
			}
			if err != nil || stands {
				return
			}
			b.h.forget()
			continue
		}
		done, changed, err := b.commit(ctx)
		if err != nil {
			b.fail(err)
			return
		}
		if done {
			return
		}
		was := b.state
		if err := b.learn(changed); err != nil {
			b.fail(err)
			return
		}
		keep = changed.what == changedState && was != nil && b.calls[0].Same != nil && b.calls[0].Same(was, b.state)
	}
	b.fail(ErrConflict)
}

// fail gives err to every call that has none. It may be recorded or not: only
// Redis knows.
func (b *batch) fail(err error) {
	b.j.players.Remove(b.id)
	b.h.forget()
	for _, c := range b.calls {
		if c.err == nil {
			c.seq, c.err = 0, err
		}
	}
}

func (b *batch) fresh(c *call) bool { return b.state != nil && b.state.Version != c.Version }

// lookFrom is the share of states that had moved on from which on the current
// one is read before the first try of a single change: reading costs about an
// eighth of a try that is lost. Under little load nearly none has, and there is
// nothing to read; with a backlog before decide most have, since the player
// plays on. Where several changes wait, all but one of them have.
const lookFrom = 1. / 8

// look reads the current state.
func (b *batch) look(ctx context.Context) error {
	raw, err := redisdb.Get(ctx, b.j.run, player.StateKey(b.id))
	if err != nil {
		return fmt.Errorf("journal: state: %w", err)
	}
	return b.adopt(raw)
}

func (b *batch) adopt(raw []byte) error {
	v, state, err := player.ParseValue(raw)
	if err == nil {
		b.state = &State{Version: v, Bytes: state}
	}
	return err
}

// decide asks every call, in order, and reports whether there is anything to record.
func (b *batch) decide(ctx context.Context) (anything bool) {
	contacts, seq := History(b.who.contacts), b.h.seq
	recorded := func(decision string) (uint64, bool, error) { return b.recorded(ctx, decision) }
	for _, c := range b.calls {
		c.draft, c.seq, c.err = nil, 0, nil // an error of before may have been about a history that is not current
		v := View{Seq: seq + 1, Contacts: contacts, Recorded: recorded}
		if b.fresh(c) {
			v.Fresh, v.State = true, b.state
		}
		if c.draft, c.err = protect(c.Decide, v); c.draft == nil {
			continue
		}
		anything = true
		seq++
		c.seq = seq
		if c.draft.Contacts != nil {
			contacts = c.draft.Contacts
		}
	}
	return anything
}

// protect calls decide; a panic in it must not take the other calls with it.
func protect(decide func(View) (*Draft, error), v View) (d *Draft, err error) {
	defer func() {
		if r := recover(); r != nil {
			d, err = nil, fmt.Errorf("journal: decide panicked: %v\n%s", r, debug.Stack())
		}
	}()
	d, err = decide(v)
	if err != nil {
		return nil, err
	}
	return d, nil
}
