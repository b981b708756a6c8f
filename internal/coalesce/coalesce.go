// Package coalesce batches the work of concurrent callers: a pipeline to a Redis server, or a
// script that records several decisions. While the maximum number of batches is running,
// further callers wait. When a batch ends, the first waiting caller runs the next one with the
// work of the others.
//
// Invariants: a batch never waits for more callers to arrive, so that a single caller is as fast
// as without coalescing. Callers are served in order of arrival. Every caller in Do either runs
// exactly one batch or is in exactly one batch of another caller.
//
// Rejected: a goroutine that collects batches. It would cost two switches per call, also without
// concurrency.
package coalesce

import "sync"

// Group coalesces callers whose work can be done together.
type Group[T any] struct {
	most int // callers in one batch

	mu      sync.Mutex
	free    int // how many more batches may run at a time
	waiting []*caller[T]
}

// caller is a call of Do.
type caller[T any] struct {
	x    T
	wake chan bool // receives true to run the next batch, or false when another batch has done the work
}

// New returns a Group that runs up to running batches at a time, each for up to most callers.
func New[T any](running, most int) *Group[T] {
	return &Group[T]{most: most, free: running}
}

// Do returns once run has been called with a batch that contains x: by this caller, whose x is
// then the first, or by another one.
func (g *Group[T]) Do(x T, run func(batch []T)) {
	c := &caller[T]{x: x}
	if !g.enter(c) {
		return
	}
	others, batch := g.batch(c)
	defer func() { // also when run panics
		g.exit()
		for _, o := range others {
			o.wake <- false
		}
	}()
	run(batch)
}

// Waiting returns how many callers wait for a batch.
func (g *Group[T]) Waiting() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.waiting)
}

// enter returns true if c must run a batch, or false once its work is done.
func (g *Group[T]) enter(c *caller[T]) bool {
	g.mu.Lock()
	if g.free > 0 {
		g.free--
		g.mu.Unlock()
		return true
	}
	c.wake = make(chan bool, 1)
	g.waiting = append(g.waiting, c)
	g.mu.Unlock()
	return <-c.wake
}

// batch takes as many waiting callers as fit in a batch.
func (g *Group[T]) batch(first *caller[T]) (others []*caller[T], batch []T) {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := min(len(g.waiting), g.most-1)
	batch = make([]T, 0, n+1)
	batch = append(batch, first.x)
	for _, c := range g.waiting[:n] {
		batch = append(batch, c.x)
	}
	others = append(others, g.waiting[:n]...)
	g.drop(n)
	return others, batch
}

func (g *Group[T]) exit() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.waiting) == 0 {
		g.free++
		return
	}
	next := g.waiting[0]
	g.drop(1)
	next.wake <- true
}

// drop removes the first n waiting callers.
func (g *Group[T]) drop(n int) {
	left := copy(g.waiting, g.waiting[n:])
	clear(g.waiting[left:])
	g.waiting = g.waiting[:left]
}
