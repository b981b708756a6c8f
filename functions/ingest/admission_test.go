package ingest

import (
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// slowBroker is a Broker that delivers one event in each while, in the order of
// their arrival, whether or not the sender still waits.
type slowBroker struct {
	mu    sync.Mutex
	each  time.Duration
	until time.Time // when it has done all that it got
}

// post waits for the answer, at most timeout; true: acknowledged.
func (b *slowBroker) post(timeout time.Duration) bool {
	b.mu.Lock()
	now := time.Now()
	if b.until.Before(now) {
		b.until = now
	}
	b.until = b.until.Add(b.each)
	wait := b.until.Sub(now)
	b.mu.Unlock()
	time.Sleep(min(wait, timeout))
	return wait <= timeout
}

// offered runs senders for a while, each of whom sends again as long after it was
// turned away as it is told; it returns how many events were acknowledged in the
// load's second half, and how long one more POST took after its end.
func offered(a *admission, b *slowBroker, senders int, long time.Duration) (acked int, after time.Duration) {
	const timeout = 10 * time.Second
	var mu sync.Mutex
	var all sync.WaitGroup
	began := time.Now()
	for i := range senders {
		all.Go(func() {
			time.Sleep(time.Duration(i) * 7 * time.Millisecond)
			for time.Since(began) < long {
				if !a.enter() {
					time.Sleep(a.turnedAway(time.Now()))
					continue
				}
				sent := time.Now()
				ok := b.post(timeout)
				a.answered(sent, time.Now(), ok)
				a.leave()
				if ok && time.Since(began) > long/2 {
					mu.Lock()
					acked++
					mu.Unlock()
				}
			}
		})
	}
	time.Sleep(long)
	over := time.Now()
	for !a.enter() {
		time.Sleep(100 * time.Millisecond)
	}
	b.post(timeout)
	after = time.Since(over)
	all.Wait()
	return acked, after
}

// However much more is offered than the Broker takes, it goes on at its maximum,
// nobody waits for long, and it is well again soon after the load's end.
func TestOverloadDoesNotCollapse(t *testing.T) {
	t.Parallel()
	for _, each := range []time.Duration{2 * time.Millisecond, 30 * time.Millisecond, 200 * time.Millisecond} {
		for _, senders := range []int{50, 1000, 5000} {
			synctest.Test(t, func(t *testing.T) {
				a := newAdmission(5 * time.Second)
				const long = 2 * time.Minute
				acked, after := offered(a, &slowBroker{each: each}, senders, long)
				most := int(long / 2 / each)
				if acked < most*8/10 && acked < senders*8 { // few senders do not offer more
					t.Errorf("each %s, %d senders: %d of %d acknowledged", each, senders, acked, most)
				}
				if after > 10*time.Second {
					t.Errorf("each %s, %d senders: %s after the load's end", each, senders, after)
				}
			})
		}
	}
}

// The same load with a bound that does not move: what admission is for.
func TestAFixedBoundCollapses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAdmission(time.Hour) // never slow
		acked, _ := offered(a, &slowBroker{each: 200 * time.Millisecond}, 1000, 2*time.Minute)
		if most := 300; acked > most/2 {
			t.Errorf("%d of %d acknowledged: the Broker of this test is not overloaded", acked, most)
		}
	})
}

// However many are turned away, twice as many come back in a second as the Broker
// acknowledges, and nobody is told to stay away for more than a minute.
func TestSendersComeBackAsTheBrokerCanTakeThem(t *testing.T) {
	t.Parallel()
	for _, perSecond := range []int{0, 3, 40, 1000} {
		synctest.Test(t, func(t *testing.T) {
			a := newAdmission(5 * time.Second)
			for range 2 * perSecond {
				a.answered(time.Now(), time.Now(), true)
				a.answered(time.Now(), time.Now(), false) // a refusal at once invites nobody
				time.Sleep(time.Second / time.Duration(perSecond))
			}
			back := map[int]int{} // by second
			for range 100_000 {
				wait := a.turnedAway(time.Now())
				if wait < time.Second || wait > longestOff {
					t.Fatalf("told to stay away for %s", wait)
				}
				back[int(wait.Seconds())]++
			}
			most := max(fewestBack, 2*perSecond)
			for second := 1; second < int(longestOff.Seconds())/2; second++ {
				if n := back[second]; n < most-1 || n > most+1 {
					t.Errorf("the Broker acknowledges %d/s: %d come back in second %d, want %d", perSecond, n, second, most)
				}
			}
		})
	}
}

// Requests that come at once all see a place before their bodies are read, and
// most then find none. They are told slots of their own like those turned away
// earlier, not the few seconds of a passing fault.
func TestWhoLosesThePlaceGetsASlot(t *testing.T) {
	t.Parallel()
	const senders = 300
	f := New()
	f.admission = newAdmission(5 * time.Second)
	for !f.admission.full() {
		f.admission.enter()
	}
	longest := 0
	for range senders {
		wait, err := strconv.Atoi(f.deliver(t.Context(), nil, false).retryAfter)
		if err != nil {
			t.Fatal(err)
		}
		longest = max(longest, wait)
	}
	if least := senders/fewestBack - 2; longest < least {
		t.Errorf("all of %d senders may be back after %d s, want %d at the least", senders, longest, least)
	}
}
