// Package coalesce batches the work of concurrent callers: a pipeline to a Redis
// server, a script that records several decisions. While as many batches run as
// may, callers wait; the first of them then runs the next batch, with what the
// others brought. Nobody waits for more callers to come, a caller alone is as
// fast as without, and there are no goroutines of its own.
package coalesce

import "sync"

// Group is callers whose work can be done together.
type Group[T any] struct {
	most int // callers of one batch

	mu      sync.Mutex
	free    int // batches that may still begin
	waiting []*caller[T]
}

// caller is one in Do.
type caller[T any] struct {
	x    T
	wake chan bool // true: run the next batch; false: another caller's batch has done it
}

// New returns a Group that runs up to running batches at once, each for up to
// most callers.
func New[T any](running, most int) *Group[T] {
	return &Group[T]{most: most, free: running}
}

// Do returns once run has been called with a batch that x is part of: by this
// caller, whose x is the first of it, or by another.
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

// Waiting is how many callers wait for a batch to begin.
func (g *Group[T]) Waiting() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.waiting)
}

// enter returns true when c is to run a batch, false when its work is done.
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

// batch takes along as many of those who wait as a batch may have.
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

// drop takes the first n off those who wait.
func (g *Group[T]) drop(n int) {
	left := copy(g.waiting, g.waiting[n:])
	clear(g.waiting[left:])
	g.waiting = g.waiting[:left]
}
