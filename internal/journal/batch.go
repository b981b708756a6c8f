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

// One goroutine at a time records changes to a shard, because only one entry can be the
// next in the chain. Changes that arrive meanwhile wait and are coalesced: all changes
// about one player are decided in order, each on the contact history that the previous
// one leaves, and recorded by one script.
//
// Invariants:
//   - The script records nothing unless the versions of state and contact history and
//     the chain's head are those that the batch was decided on.
//   - If only the state has changed, the decisions may stand if Change.Same says so. It
//     compares the state that was decided on, which must have been read during this call,
//     with the current one. The script then checks the current version, so that no other
//     change can slip in between.
//   - If the contact history or the head has changed, everything is decided again.
//   - A batch may find nothing to record, because its events were decided on before or
//     must not be decided on. That stands only if Redis has the contact history that it
//     was found in: a failover or an erasure may have removed what this process remembers.
//
// Rejected: one script for all waiting players of a shard. With 4,096 shards two busy
// players rarely share one, and the whole batch would conflict whenever one of them does.

const (
	// batchMost bounds a batch, so that the changes behind it wait for a few
	// milliseconds at most.
	batchMost = 64
	// attempts bounds how often one batch is sent.
	attempts = 24
)

// ErrConflict means that the state or history behind a decision kept changing. It is
// retryable.
var ErrConflict = errors.New("journal: what was decided on kept changing")

// head caches the end of a shard's chain as this process last saw it. Only the goroutine
// that runs a batch of calls may access seq and hash.
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

// forget clears the cache: the next script will conflict and return the head.
func (h *head) forget() { h.seq, h.hash = 0, Hash{} }

// Change asks for an entry about a player.
type Change struct {
	Player string
	// Version is that of the state that the caller knows, or Anew or Present.
	Version player.Version
	// Decide makes the decision on a View. It is called again after a conflict. A nil
	// Draft records nothing. It may run on another goroutine, but never concurrently with
	// other decisions about players of the shard.
	Decide func(View) (*Draft, error)
	// Same reports whether a decision made on the state was may be recorded although the
	// state is now another. If it is nil, it may not.
	Same func(was, is *State) bool
}

// State is a player's state at one version. The zero Version means that there is no such
// player.
type State struct {
	Version player.Version
	Bytes   []byte
	// Decoded is for the caller: it may keep the decoded Bytes here for the other
	// decisions of the batch.
	Decoded any
}

// call is a submitted Change and its result.
type call struct {
	Change
	draft *Draft
	seq   uint64
	err   error
}

// Submit records a change and returns the entry's sequence number, or 0 if there was
// nothing to record. After an error the change may or may not be recorded.
func (j *Journal) Submit(ctx context.Context, c Change) (seq uint64, err error) {
	shard := player.Shard(c.Player)
	h, k := j.head(shard), &call{Change: c}
	h.calls.Do(k, func(waiting []*call) { // has the changes of other callers too
		j.record(context.WithoutCancel(ctx), shard, h, waiting)
	})
	return k.seq, k.err
}

// Record is Submit without a Same: the decision must stand on the current state.
func (j *Journal) Record(ctx context.Context, id string, version player.Version, decide func(View) (*Draft, error)) (seq uint64, err error) {
	return j.Submit(ctx, Change{Player: id, Version: version, Decide: decide})
}

// check returns how the script is to check the state: Anew, Present, or zero for a version.
// Changes with the same check can be recorded together.
func (c *Change) check() player.Version {
	if c.Version == Anew || c.Version == Present {
		return c.Version
	}
	return player.Version{}
}

// record splits the waiting changes into batches. Changes without a version go first: an
// exclusion must not wait for decisions that it is to stop.
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

// batch is a list of changes about one player that are recorded together.
type batch struct {
	j     *Journal
	shard int
	h     *head
	id    string
	calls []*call

	who   *known
	state *State // the current one as far as known; nil: the version that the only call names
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

// fail sets err for every call without an error and clears the caches. Whether the batch
// was recorded, only Redis knows.
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

// lookFrom is the share of outdated versions above which the current state is read before
// the first attempt of a single change. Reading costs about an eighth of a lost attempt.
// Under light load hardly any version is outdated, and the read is saved. With a backlog
// before decide most are, because the player plays on. If several changes wait, all but
// one of them are outdated, so that the state is always read.
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

// decide runs every call's Decide in order and reports whether there is anything to record.
func (b *batch) decide(ctx context.Context) (anything bool) {
	contacts, seq := History(b.who.contacts), b.h.seq
	recorded := func(decision string) (uint64, bool, error) { return b.recorded(ctx, decision) }
	for _, c := range b.calls {
		c.draft, c.seq, c.err = nil, 0, nil // an earlier error may be due to an outdated history
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

// protect calls decide and turns a panic into an error, so that the other calls go on.
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
