package coalesce

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// Everybody's work is done exactly once, by no more batches at once and no larger
// ones than allowed, however they come; a caller alone does its own.
func TestEverybodysWorkIsDoneOnce(t *testing.T) {
	t.Parallel()
	for _, size := range []struct{ running, most int }{{1, 1}, {1, 8}, {3, 1}, {3, 8}} {
		g := New[int](size.running, size.most)
		const callers, each = 50, 40
		var done [callers * each]atomic.Int32
		var running, largest atomic.Int32
		var wg sync.WaitGroup
		for c := range callers {
			wg.Go(func() {
				for i := range each {
					x := c*each + i
					g.Do(x, func(batch []int) {
						if n := running.Add(1); int(n) > size.running {
							t.Errorf("%v: %d batches at once", size, n)
						}
						if len(batch) > size.most {
							t.Errorf("%v: a batch of %d", size, len(batch))
						}
						if batch[0] != x {
							t.Errorf("%v: %d runs %v", size, x, batch)
						}
						for _, b := range batch {
							done[b].Add(1)
						}
						largest.Store(max(largest.Load(), int32(len(batch))))
						runtime.Gosched()
						running.Add(-1)
					})
					if n := done[x].Load(); n != 1 {
						t.Errorf("%v: %d was done %d times", size, x, n)
					}
				}
			})
		}
		wg.Wait()
		if int(largest.Load()) != size.most {
			t.Errorf("%v: the largest batch was %d", size, largest.Load())
		}
	}
}

// A batch that panics leaves nobody waiting.
func TestAPanicLeavesNobodyWaiting(t *testing.T) {
	t.Parallel()
	g := New[int](1, 4)
	func() {
		defer func() { _ = recover() }()
		g.Do(1, func([]int) { panic("a bug") })
	}()
	ok := false
	g.Do(2, func([]int) { ok = true })
	if !ok {
		t.Error("nobody's work is done any more")
	}
}
