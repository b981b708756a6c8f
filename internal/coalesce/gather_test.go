package coalesce

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Everybody is carried exactly once, by no more trips at once and in no larger
// batches than allowed, however they come; a caller alone carries itself.
func TestEverybodyIsCarriedOnce(t *testing.T) {
	t.Parallel()
	for _, size := range []struct{ trips, most int }{{1, 1}, {1, 8}, {3, 1}, {3, 8}} {
		g := New[int](size.trips, size.most, 0)
		const callers, each = 50, 40
		var carried [callers * each]atomic.Int32
		var trips, widest atomic.Int32
		var wg sync.WaitGroup
		for c := range callers {
			wg.Go(func() {
				for i := range each {
					x := c*each + i
					g.Do(x, func(batch []int) {
						if n := trips.Add(1); int(n) > size.trips {
							t.Errorf("%v: %d trips at once", size, n)
						}
						if len(batch) > size.most {
							t.Errorf("%v: a batch of %d", size, len(batch))
						}
						if batch[0] != x {
							t.Errorf("%v: %d carries %v", size, x, batch)
						}
						for _, b := range batch {
							carried[b].Add(1)
						}
						widest.Store(max(widest.Load(), int32(len(batch))))
						runtime.Gosched()
						trips.Add(-1)
					})
					if n := carried[x].Load(); n != 1 {
						t.Errorf("%v: %d was carried %d times", size, x, n)
					}
				}
			})
		}
		wg.Wait()
		if int(widest.Load()) != size.most {
			t.Errorf("%v: the largest batch was %d", size, widest.Load())
		}
	}
}

// A carrier that panics leaves nobody waiting.
func TestAPanicLeavesNobodyWaiting(t *testing.T) {
	t.Parallel()
	g := New[int](1, 4, 0)
	func() {
		defer func() { _ = recover() }()
		g.Do(1, func([]int) { panic("a bug") })
	}()
	ok := false
	g.Do(2, func([]int) { ok = true })
	if !ok {
		t.Error("nobody is carried any more")
	}
}

// Trips that take too long do not keep others from beginning; once they have
// ended, as many may be under way as before.
func TestWhatTakesLongHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	const trips = 2
	g := New[int](trips, 4, 10*time.Millisecond)
	end := make(chan struct{})
	var stuck sync.WaitGroup
	for range trips {
		began := make(chan struct{})
		stuck.Go(func() { g.Do(0, func([]int) { close(began); <-end }) })
		<-began
	}
	for range 3 { // in their place, one after the other
		g.Do(1, func([]int) {})
	}
	close(end)
	stuck.Wait()
	free := func() int { g.mu.Lock(); defer g.mu.Unlock(); return g.free }
	for deadline := time.Now().Add(10 * time.Second); free() != trips; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d trips may begin, want %d", free(), trips)
		}
	}
}
