package player

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"pitboss/internal/redisdb"
)

// attempts bounds how often a batch is folded because another writer was faster.
const attempts = 24

// Events of one player that arrive while a commit is in progress are coalesced. The first
// caller becomes the leader: it takes the waiting calls as a batch, folds them in order of
// time and commits them by one script. When it is done, the first call that has queued
// since becomes the next leader.
//
// Invariants:
//   - A player's entry has at most one leader, and only the leader accesses the state,
//     version and duplicate memory in the entry.
//   - The script writes only if the version in Redis is the one that the batch was folded
//     on. The duplicate memory is part of the value, so the same comparison shows that an
//     event that was found to be new still is.
//   - A call without an error is in Redis. If only duplicates are left, nothing is written,
//     but the version in Redis is checked before they are acknowledged (confirm).
//   - After an error the entry's state is dropped, because only Redis knows what is stored.

// lead takes a batch that begins with the leading call, runs it and ends it. A panic in the
// codec becomes the batch's error, because others wait for the batch to end.
func (st *Store[S]) lead(ctx context.Context, p *entry[S], c *call[S]) {
	batch := st.cache.batch(p, c, st.cfg.Batch)
	defer func() {
		if r := recover(); r != nil {
			fail(p, batch, fmt.Errorf("player: commit panicked: %v\n%s", r, debug.Stack()))
		}
		st.cache.exit(p)
		for _, other := range batch {
			if other != c {
				other.wake <- false
			}
		}
	}()
	slices.SortStableFunc(batch, func(a, b *call[S]) int { return cmp.Compare(a.op.At, b.op.At) })
	st.run(ctx, p, batch)
}

// run folds a batch into the player's state and commits it. It sets res or err of every
// call.
func (st *Store[S]) run(ctx context.Context, p *entry[S], batch []*call[S]) {
	st.stats.batches.Add(1)
	st.stats.events.Add(uint64(len(batch)))
	if p.state == nil {
		st.stats.misses.Add(1)
		if err := st.reload(ctx, p); err != nil {
			fail(p, batch, err)
			return
		}
	}
	for try := range attempts {
		if !st.fold(p, batch) {
			// The failed fold may have left the state half changed.
			if err := st.reload(ctx, p); err != nil {
				fail(p, batch, err)
				return
			}
			continue
		}
		done, err := st.commit(ctx, p, batch)
		if err != nil {
			// The commit may or may not be in Redis.
			fail(p, batch, fmt.Errorf("player: commit: %w", err))
			return
		}
		if done {
			return
		}
		st.stats.conflicts.Add(1)
		if try > 2 {
			time.Sleep(rand.N(time.Duration(try) * 500 * time.Microsecond))
		}
	}
	fail(p, batch, ErrConflict)
}

// fail drops the player's state and sets err for every call without an error.
func fail[S any](p *entry[S], batch []*call[S], err error) {
	p.state = nil
	for _, c := range batch {
		if c.err == nil {
			c.err = err
		}
	}
}

// adopt decodes v into the entry, for the next fold.
func (st *Store[S]) adopt(p *entry[S], v value) (err error) {
	old := p.state
	if old == nil {
		old = st.cache.reuse(p.name)
	}
	if p.state, err = st.codec.Reuse(old, v.state); err != nil {
		p.state = nil
		return fmt.Errorf("player: decode: %w", err)
	}
	p.version, p.erased, p.ids = v.version, v.erased, v.ids
	return nil
}

// reload reads the entry from Redis, for the next fold.
func (st *Store[S]) reload(ctx context.Context, p *entry[S]) error {
	v, err := st.get(ctx, p.name)
	if err != nil {
		return err
	}
	return st.adopt(p, v)
}

// fold applies the batch's calls in order. It returns false if one of them failed.
func (st *Store[S]) fold(p *entry[S], batch []*call[S]) (ok bool) {
	for i, c := range batch {
		if c.err != nil {
			continue
		}
		if c.op.At <= p.erased.at && p.erased != (mark{}) && !c.op.Keep {
			c.eff, c.res = Effects{}, Result{Erased: true}
			continue
		}
		due, dup := findID(p.ids, c.op.Key)
		if first := sameEvent(batch[:i], c.op.Key); first != nil {
			due, dup = first.eff.Due, true
		}
		eff, err := protect(c.op.Fold, p.state, dup, due)
		if err != nil {
			c.err = err
			return false
		}
		if dup {
			eff = Effects{Due: due}
		}
		c.eff = eff
		c.res = Result{Duplicate: dup, Due: eff.Due}
	}
	return true
}

// sameEvent finds an earlier call of the batch for the same event.
func sameEvent[S any](batch []*call[S], key uint64) *call[S] {
	for _, c := range batch {
		if c.err == nil && c.op.Key == key && !c.res.Erased {
			return c
		}
	}
	return nil
}

// protect calls fold and turns a panic into an error, so that the other callers go on.
func protect[S any](fold func(*S, bool, uint8) (Effects, error), s *S, dup bool, due uint8) (eff Effects, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("player: fold panicked: %v\n%s", r, debug.Stack())
		}
	}()
	return fold(s, dup, due)
}

// buffers pools the memory for encoded values.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// commit writes the batch's effects to Redis. It returns false if another writer was
// faster: p then has the value that that one wrote.
func (st *Store[S]) commit(ctx context.Context, p *entry[S], batch []*call[S]) (done bool, err error) {
	was := p.version
	if !st.remember(p, batch) {
		return st.confirm(ctx, p, batch)
	}
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	p.version = was.next()
	*buf = appendHead((*buf)[:0], p.version, p.erased, p.ids)
	if *buf, err = st.codec.Append(*buf, p.state); err != nil {
		return false, fmt.Errorf("encode: %w", err)
	}
	args := append(commitScript.Args(StateKey(p.name), ReminderKey(Shard(p.name))), was.bytes(), *buf)
	if args, err = appendReminders(args, p.name, batch); err != nil {
		return false, err
	}
	reply, err := commitScript.Eval(ctx, st.redis, args)
	if err != nil {
		return false, err
	}
	if current, refused := reply.(string); refused {
		v, err := parseValue([]byte(current))
		if err != nil {
			return false, err
		}
		return false, st.adopt(p, v)
	}
	for _, c := range batch {
		c.res.Version = p.version
	}
	return true, nil
}

// remember adds the batch's new events to the duplicate memory. It returns false if there
// are none.
func (st *Store[S]) remember(p *entry[S], batch []*call[S]) (any bool) {
	now := st.cfg.Now()
	for _, c := range batch {
		if c.err == nil && !c.res.Duplicate && !c.res.Erased {
			p.ids = appendID(p.ids, c.op.Key, minuteOf(now), c.eff.Due)
			any = true
		}
	}
	if any {
		if p.erased.until < now.UnixMilli() {
			p.erased = mark{}
		}
		p.ids = trimIDs(p.ids, st.cfg.RememberIDs, minuteOf(now.Add(-st.cfg.RememberFor)))
	}
	return any
}

// confirm answers a batch that changes nothing: duplicates, or events from before an
// erasure. Nothing is written, but an acknowledged event must be in Redis, and a failover
// may have lost the commit that this instance remembers. With WaitReplicas it must be on
// the replicas too, because the WAIT of the original commit may have failed.
func (st *Store[S]) confirm(ctx context.Context, p *entry[S], batch []*call[S]) (done bool, err error) {
	var version string
	if st.cfg.WaitReplicas > 0 {
		var reply any
		reply, err = touchScript.Eval(ctx, st.redis, touchScript.Args(StateKey(p.name)))
		version, _ = reply.(string)
	} else {
		version, err = redisdb.Prefix(ctx, st.redis, StateKey(p.name), len(p.version))
	}
	if err != nil {
		return false, err
	}
	if version != string(p.version.bytes()) {
		return false, st.reload(ctx, p)
	}
	for _, c := range batch {
		c.res.Version = p.version
		if c.res.Duplicate {
			st.stats.duplicates.Add(1)
		}
	}
	return true, nil
}
