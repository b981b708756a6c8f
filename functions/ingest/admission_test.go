package ingest

import (
	"context"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const timeout = 10 * time.Second // INGEST_TIMEOUT's default

// slowBroker delivers the events one after another, each in the time each, whether or
// not the sender still waits.
type slowBroker struct {
	mu    sync.Mutex
	each  time.Duration
	until time.Time // when it has delivered everything it got
}

// post waits for the answer, at most timeout, and reports whether the event was acknowledged.
func (b *slowBroker) post() bool {
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

// send posts one event after another until the load has lasted long, each time to an instance
// that pick chooses. A sender that is turned away stays away as long as it is told.
// answered, if there is one, gets every answer.
func (b *slowBroker) send(pick func() *admission, began time.Time, long time.Duration, answered func(ok bool)) {
	for time.Since(began) < long {
		a := pick()
		if !a.enter(context.Background(), 1) {
			time.Sleep(a.turnedAway(time.Now(), 1))
			continue
		}
		sent := time.Now()
		ok := b.post()
		a.answered(sent, time.Now(), ok)
		a.leave()
		if answered != nil {
			answered(ok)
		}
	}
}

// offered runs senders, each of which stays away as long as it is told when it is
// turned away. It returns how many events were acknowledged in the second half of the
// time, and how long one more POST took after the end.
func offered(a *admission, b *slowBroker, senders int, long time.Duration) (acked int, after time.Duration) {
	var mu sync.Mutex
	var all sync.WaitGroup
	began := time.Now()
	for i := range senders {
		all.Go(func() {
			time.Sleep(time.Duration(i) * 7 * time.Millisecond)
			b.send(func() *admission { return a }, began, long, func(ok bool) {
				if ok && time.Since(began) > long/2 {
					mu.Lock()
					acked++
					mu.Unlock()
				}
			})
		})
	}
	time.Sleep(long)
	over := time.Now()
	for !a.enter(context.Background(), 1) {
		time.Sleep(100 * time.Millisecond)
	}
	b.post()
	after = time.Since(over)
	all.Wait()
	return acked, after
}

// However much more is offered than the Broker takes, it works at its maximum, and
// latency is back to normal soon after the load ends.
func TestOverloadDoesNotCollapse(t *testing.T) {
	t.Parallel()
	for _, each := range []time.Duration{2 * time.Millisecond, 30 * time.Millisecond, 200 * time.Millisecond} {
		for _, senders := range []int{50, 1000, 5000} {
			synctest.Test(t, func(t *testing.T) {
				a := newAdmission(timeout / slowShare)
				const long = 2 * time.Minute
				acked, after := offered(a, &slowBroker{each: each}, senders, long)
				most := int(long / 2 / each)
				if acked < most*8/10 && acked < senders*8 { // few senders may offer less than the maximum
					t.Errorf("each %s, %d senders: %d of %d acknowledged", each, senders, acked, most)
				}
				if after > 10*time.Second {
					t.Errorf("each %s, %d senders: %s after the load's end", each, senders, after)
				}
			})
		}
	}
}

// The same load with a fixed bound collapses, which is why admission exists.
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

// However many are turned away, and however large their batches are, twice as many
// events come back in a second as the Broker acknowledges, or fewestBack senders. None
// is told to stay away for more than a minute.
func TestSendersComeBackAsTheBrokerCanTakeThem(t *testing.T) {
	t.Parallel()
	for _, perSecond := range []int{0, 3, 40, 1000} {
		for _, batch := range []int{1, 20, 1000} {
			for _, unread := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) { comeBack(t, perSecond, batch, unread) })
			}
		}
	}
}

// comeBack turns away senders of batches. If they are unread, their size is known
// only from requests that were let in before.
func comeBack(t *testing.T, perSecond, batch int, unread bool) {
	a := newAdmission(timeout / slowShare)
	events := batch
	if unread {
		events = 0
	}
	for range 10 * sizeOver {
		if a.enter(t.Context(), batch) {
			a.leave()
		}
	}
	for range 2 * perSecond {
		a.answered(time.Now(), time.Now(), true)
		a.answered(time.Now(), time.Now(), false) // an immediate refusal must not invite anybody
		time.Sleep(time.Second / time.Duration(perSecond))
	}
	back := map[int]int{} // by second
	for range 100_000 {
		wait := a.turnedAway(time.Now(), events)
		if wait < time.Second || wait > longestOff {
			t.Fatalf("told to stay away for %s", wait)
		}
		back[int(wait.Seconds())]++
	}
	most := max(fewestBack, 2*perSecond/batch)
	for second := 1; second < int(longestOff.Seconds())/2; second++ {
		if n := back[second]; n < most-1 || n > most+1 {
			t.Errorf("the Broker acknowledges %d/s: %d senders of %d events come back in second %d, want %d", perSecond, n, batch, second, most)
		}
	}
}

// Requests that arrive together all see a free place before their bodies are read, and
// most then find none. They get slots like those that were turned away earlier, not the
// few seconds of a passing fault.
func TestWhoLosesThePlaceGetsASlot(t *testing.T) {
	t.Parallel()
	const senders = 300
	f := New()
	f.admission = newAdmission(timeout / slowShare)
	f.admission.lowered = time.Now() // slow start is over
	for !f.admission.full() {
		f.admission.enter(t.Context(), 1)
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

// autoscaled are instances of ingest in front of one Broker, as many as Knative starts
// for the requests that wait in them: 70 each, as in func.yaml, counted every two seconds,
// and none ended during the minute of its stable window.
type autoscaled struct {
	mu        sync.Mutex
	instances []*admission
}

func (s *autoscaled) any() *admission {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.instances[rand.N(len(s.instances))]
}

func (s *autoscaled) scale() {
	s.mu.Lock()
	defer s.mu.Unlock()
	waiting := 0
	for _, a := range s.instances {
		a.mu.Lock()
		waiting += a.waiting + len(a.queue)
		a.mu.Unlock()
	}
	for len(s.instances) < min(10, (waiting+69)/70) {
		s.instances = append(s.instances, newAdmission(timeout/slowShare))
	}
}

// A Broker that is behind does not become several instances' worth of requests that wait
// for it, and it has answered all of them soon after the load ends.
func TestAutoscalingDoesNotMultiplyTheBacklog(t *testing.T) {
	t.Parallel()
	for _, each := range []time.Duration{15 * time.Millisecond, 30 * time.Millisecond, 100 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			s := &autoscaled{instances: []*admission{newAdmission(timeout / slowShare)}}
			b := &slowBroker{each: each}
			const long = time.Minute
			began := time.Now()
			var all sync.WaitGroup
			for i := range 3000 {
				all.Go(func() {
					time.Sleep(time.Duration(i) * 7 * time.Millisecond)
					b.send(s.any, began, long, nil)
				})
			}
			for time.Since(began) < long {
				time.Sleep(2 * time.Second)
				s.scale()
			}
			b.mu.Lock()
			behind := time.Until(b.until)
			b.mu.Unlock()
			if behind > 5*time.Second || len(s.instances) > 4 {
				t.Errorf("each %s: %d instances, and the Broker is busy for %s after the load's end", each, len(s.instances), behind)
			}
			all.Wait()
		})
	}
}

// A platform that sends little is not turned away when the Broker stops for a moment, although
// it never needed the places before.
func TestFastAnswersMakeRoomForAPause(t *testing.T) {
	t.Parallel()
	a := newAdmission(timeout / slowShare)
	now := time.Now()
	for range calmWaiting {
		if !a.enter(context.Background(), 1) {
			t.Fatal("one request at a time is turned away")
		}
		a.answered(now, now.Add(10*time.Millisecond), true)
		a.leave()
	}
	for n := range calmWaiting {
		if !a.enter(context.Background(), 1) {
			t.Fatalf("%d requests may wait, want %d", n, calmWaiting)
		}
	}
}

// An instance that takes over from another gets at once what waited in the meantime. It
// turns nobody away, although it does not know yet what the Broker takes.
func TestANewInstanceTakesWhatWaited(t *testing.T) {
	t.Parallel()
	for _, each := range []time.Duration{100 * time.Microsecond, 5 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			a := newAdmission(timeout / slowShare)
			b := &slowBroker{each: each}
			var all sync.WaitGroup
			var away atomic.Int64
			for range firstWaiting + mostQueued {
				all.Go(func() {
					if !a.enter(t.Context(), 1) {
						away.Add(1)
						return
					}
					sent := time.Now()
					a.answered(sent, time.Now(), b.post())
					a.leave()
				})
			}
			all.Wait()
			if away.Load() != 0 {
				t.Errorf("each %s: %d of %d are turned away", each, away.Load(), firstWaiting+mostQueued)
			}
			if a.waiting != 0 || len(a.queue) != 0 {
				t.Errorf("each %s: %d places are taken and %d wait after the end", each, a.waiting, len(a.queue))
			}
		})
	}
}

// Who waits for a place is turned away as soon as the Broker turns out to be behind, or after
// a tenth of INGEST_TIMEOUT without any answer, or when the sender gives up.
func TestTheQueueOfANewInstanceIsShort(t *testing.T) {
	t.Parallel()
	const slow = timeout / slowShare
	for name, tc := range map[string]struct {
		answered time.Duration // when the first answer comes; 0: never
		gone     time.Duration // when the sender gives up; 0: never
		want     time.Duration // when it is turned away
	}{
		"behind":    {answered: slow + time.Millisecond, want: slow},
		"silent":    {want: slow},
		"gave up":   {gone: slow / 4, want: slow / 4},
		"fell then": {answered: slow / 2, want: slow / 2},
	} {
		synctest.Test(t, func(t *testing.T) {
			a := newAdmission(slow)
			for range firstWaiting {
				a.enter(t.Context(), 1)
			}
			began := time.Now()
			if tc.answered > 0 {
				time.AfterFunc(tc.answered, func() { a.answered(began.Add(tc.answered-2*slow), time.Now(), true) })
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if tc.gone > 0 {
				time.AfterFunc(tc.gone, cancel)
			}
			if a.enter(ctx, 1) {
				t.Fatalf("%s: it has a place", name)
			}
			if took := time.Since(began); took != tc.want {
				t.Errorf("%s: turned away after %s, want %s", name, took, tc.want)
			}
			if tc.gone == 0 { // slow start is over
				if again := time.Now(); a.enter(ctx, 1) || time.Since(again) != 0 {
					t.Errorf("%s: the next one waited for %s", name, time.Since(again))
				}
			}
			time.Sleep(2 * slow) // for an answer that is still to come
			a.mu.Lock()
			defer a.mu.Unlock()
			if a.waiting != firstWaiting || len(a.queue) != 0 {
				t.Errorf("%s: %d places are taken and %d wait", name, a.waiting, len(a.queue))
			}
		})
	}
}
