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

// attempts bounds how often a batch is folded again because another writer was first.
const attempts = 24

// lead gathers a batch behind the leading call, runs it and ends it. A panic
// in the codec becomes the batch's error: others wait for this turn to end.
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

// run folds a batch into the player's state and commits it. It sets res and
// err of every call in it.
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
			// The fold that failed may have left the state half changed.
			if err := st.reload(ctx, p); err != nil {
				fail(p, batch, err)
				return
			}
			continue
		}
		done, err := st.commit(ctx, p, batch)
		if err != nil {
			// It may be in Redis or not: only Redis knows the state now.
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

// fail forgets the player's state and gives err to every call that has none.
func fail[S any](p *entry[S], batch []*call[S], err error) {
	p.state = nil
	for _, c := range batch {
		if c.err == nil {
			c.err = err
		}
	}
}

// adopt makes v what the next fold builds on.
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

// reload reads what the next fold builds on.
func (st *Store[S]) reload(ctx context.Context, p *entry[S]) error {
	v, err := st.get(ctx, p.name)
	if err != nil {
		return err
	}
	return st.adopt(p, v)
}

// fold applies the batch's calls in order; false when one of them failed.
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

// sameEvent finds the call that brings the same event earlier in the batch.
func sameEvent[S any](batch []*call[S], key uint64) *call[S] {
	for _, c := range batch {
		if c.err == nil && c.op.Key == key && !c.res.Erased {
			return c
		}
	}
	return nil
}

// protect calls fold; a panic in it must not take the other callers with it.
func protect[S any](fold func(*S, bool, uint8) (Effects, error), s *S, dup bool, due uint8) (eff Effects, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("player: fold panicked: %v\n%s", r, debug.Stack())
		}
	}()
	return fold(s, dup, due)
}

// buffers holds the values on their way.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// commit sends the batch's effects to Redis. It returns false when another
// writer was first: p is then what that one wrote.
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

// remember adds the batch's new events to the duplicate memory; false when
// there are none.
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

// confirm answers a batch that changes nothing: duplicates, or what is from
// before an erasure. Nothing is written, but
// what is acknowledged must be in Redis: a failover may have lost the commit
// this instance remembers. And it must be on the replicas, if so configured:
// the commit's own WAIT may have failed.
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
