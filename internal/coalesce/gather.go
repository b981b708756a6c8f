// Package coalesce lets concurrent callers share trips, to a Redis server or to a
// subscriber: while some are under way, callers collect, and the first of them
// carries the others along. Nobody ever waits for more to come, one caller alone
// is as fast as without, and there are no goroutines of its own.
package coalesce

import (
	"sync"
	"time"
)

// Group is callers with one destination.
type Group[T any] struct {
	most     int           // callers of one trip
	patience time.Duration // 0: endless

	mu      sync.Mutex
	free    int // trips that may still begin
	waiting []*caller[T]
}

// caller is one on its way.
type caller[T any] struct {
	x    T
	wake chan bool // true: carry the next trip; false: carried
}

// New returns a Group of which up to trips are under way at once, each for up
// to most callers. One that takes longer than patience, unless that is 0, no
// longer counts: another may begin in its place.
func New[T any](trips, most int, patience time.Duration) *Group[T] {
	return &Group[T]{most: most, patience: patience, free: trips}
}

// Do returns once carry has been called with a batch that x is part of: by this
// caller, whose x is the first of it, or by another.
func (g *Group[T]) Do(x T, carry func(batch []T)) {
	c := &caller[T]{x: x, wake: make(chan bool, 1)}
	if !g.enter(c) {
		return
	}
	others, batch := g.batch(c)
	var late *time.Timer
	if g.patience > 0 {
		late = time.AfterFunc(g.patience, g.exit)
	}
	defer func() {
		if late == nil || late.Stop() {
			g.exit()
		}
		for _, o := range others {
			o.wake <- false
		}
	}()
	carry(batch)
}

// Waiting is how many callers wait for a trip to begin.
func (g *Group[T]) Waiting() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.waiting)
}

// enter returns true when c is to carry, false when it was carried.
func (g *Group[T]) enter(c *caller[T]) bool {
	g.mu.Lock()
	if g.free > 0 {
		g.free--
		g.mu.Unlock()
		return true
	}
	g.waiting = append(g.waiting, c)
	g.mu.Unlock()
	return <-c.wake
}

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
