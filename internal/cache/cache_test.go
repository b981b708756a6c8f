package cache

import (
	"sync"
	"sync/atomic"
	"testing"
)

func same(n int) int { return n }

// It says what the function says, asks it once of each value that it has room
// for, and takes no more room than it was given.
func TestOf(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	m := New(3, same, func(n int) int { asked.Add(1); return n * n })
	for range 5 {
		for n := range 3 {
			if got := m.Get(n); got != n*n {
				t.Fatalf("of %d: %d", n, got)
			}
		}
	}
	if asked.Load() != 3 {
		t.Errorf("asked %d times about three values", asked.Load())
	}
	for n := range 100 {
		if got := m.Get(n); got != n*n {
			t.Fatalf("of %d: %d", n, got)
		}
	}
	if n := len(*m.known.Load()); n != 3 {
		t.Errorf("%d values are remembered", n)
	}
}

func TestOfConcurrently(t *testing.T) {
	t.Parallel()
	m := New(50, same, func(n int) int { return -n })
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for n := range 100 {
				if got := m.Get(n); got != -n {
					t.Errorf("of %d: %d", n, got)
				}
			}
		})
	}
	wg.Wait()
	if n := len(*m.known.Load()); n != 50 {
		t.Errorf("%d values are remembered", n)
	}
}
