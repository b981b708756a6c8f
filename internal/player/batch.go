package player

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"strconv"
	"sync"
	"time"
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
		for _, other := range batch[1:] {
			other.wake <- false
		}
	}()
	st.run(ctx, p, batch)
}

// run folds a batch into the player's state and commits it. It sets res and
// err of every call in it.
func (st *Store[S]) run(ctx context.Context, p *entry[S], batch []*call[S]) {
	st.stats.batches.Add(1)
	st.stats.events.Add(uint64(len(batch)))
	if p.state == nil {
		st.stats.misses.Add(1)
		v, err := st.get(ctx, p.name)
		if err == nil {
			err = st.adopt(p, v, batch)
		}
		if err != nil {
			fail(p, batch, err)
			return
		}
	}
	for try := range attempts {
		if !st.fold(p, batch) {
			// A fold that failed may have left the state half changed.
			v, err := st.get(ctx, p.name)
			if err == nil {
				err = st.adopt(p, v, batch)
			}
			if err != nil {
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

// adopt makes v the state to fold on and marks the calls whose events it holds.
func (st *Store[S]) adopt(p *entry[S], v value, batch []*call[S]) error {
	s, err := st.codec.Decode(v.state)
	if err != nil {
		p.state = nil
		return fmt.Errorf("player: decode: %w", err)
	}
	p.state, p.version = s, v.version
	for _, c := range batch {
		if due, known := v.find(c.op.Key); known {
			c.dup, c.eff = true, Effects{Due: due}
		} else {
			c.dup = false
		}
	}
	return nil
}

// fold applies the batch's calls in order; false when one of them failed.
func (st *Store[S]) fold(p *entry[S], batch []*call[S]) (ok bool) {
	for i, c := range batch {
		if c.err != nil {
			continue
		}
		dup, due := c.dup, uint8(0)
		if dup {
			due = c.eff.Due
		} else if first := sameEvent(batch[:i], c.op.Key); first != nil {
			dup, due = true, first.eff.Due
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
		if c.err == nil && c.op.Key == key {
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

// buffers holds the commits' encoded ids and states.
var buffers = sync.Pool{New: func() any { return new(buffer) }}

type buffer struct{ version, ids, state []byte }

// commit sends the batch's new events to Redis. It returns false when another
// writer was first, or one of the events is known: p then holds the current
// state, and the calls whose events it has are marked.
func (st *Store[S]) commit(ctx context.Context, p *entry[S], batch []*call[S]) (done bool, err error) {
	buf := buffers.Get().(*buffer)
	defer buffers.Put(buf)
	now := st.cfg.Now()
	buf.ids = buf.ids[:0]
	for _, c := range batch {
		if c.err == nil && !c.res.Duplicate {
			buf.ids = appendID(buf.ids, c.op.Key, minuteOf(now), c.eff.Due)
		}
	}
	if len(buf.ids) == 0 {
		return true, st.confirm(ctx, p, batch)
	}
	if buf.state, err = st.codec.Append(buf.state[:0], p.state); err != nil {
		return false, fmt.Errorf("encode: %w", err)
	}
	buf.version = buf.version[:0]
	if p.version != (Version{}) {
		buf.version = append(buf.version, p.version[:]...)
	}
	next := p.version.next()
	args := append(commitScript.args(StateKey(p.name), ReminderKey(Shard(p.name))),
		buf.version, next[:], buf.ids, st.cfg.RememberIDs,
		strconv.Itoa(int(minuteOf(now.Add(-st.cfg.RememberFor)))), buf.state)
	if args, err = appendReminders(args, p.name, batch); err != nil {
		return false, err
	}
	reply, err := st.link.eval(ctx, commitScript, args)
	if err != nil {
		return false, err
	}
	current, refused := reply.(string)
	if !refused {
		p.version = next
		for _, c := range batch {
			c.res.Version = next
		}
		return true, nil
	}
	v, err := parseValue(current)
	if err != nil {
		return false, err
	}
	return false, st.adopt(p, v, batch)
}

// confirm answers a batch of nothing but duplicates. What is acknowledged
// here may be a commit whose own WAIT failed, so the replicas are asked again.
func (st *Store[S]) confirm(ctx context.Context, p *entry[S], batch []*call[S]) error {
	for _, c := range batch {
		c.res.Version = p.version
		if c.res.Duplicate {
			st.stats.duplicates.Add(1)
		}
	}
	if st.cfg.WaitReplicas == 0 {
		return nil
	}
	_, err := st.link.eval(ctx, touchScript, touchScript.args(StateKey(p.name)))
	return err
}
