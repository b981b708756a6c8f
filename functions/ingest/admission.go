package ingest

import (
	"math/rand/v2"
	"strconv"
	"sync"
	"time"
)

const (
	minWaiting   = 4 // requests that always may wait for the Broker
	firstWaiting = 64
	maxWaiting   = 200  // as many as func.yaml lets into an instance
	sharpest     = 0.25 // a slow answer leaves at least this share of the limit

	fewestBack = 10          // senders that may come back in a second, at the least
	longestOff = time.Minute // that a sender is told to stay away
)

// admission bounds how many requests wait for the Broker at once and finds the
// bound by itself. An answer that took longer than slow says that the Broker is
// behind: the limit falls to what would have been answered in time (Little's
// law: waiting = rate × latency). Fast answers raise it by one in the time that
// all who wait take, and double it in that time until it fell once (as TCP's
// congestion avoidance and slow start do).
//
// Without it a Broker that is behind never catches up. Requests that ingest gave
// up on go on being delivered, their senders send them again, and all of the
// Broker's work is for answers that nobody awaits. A fixed bound would be too high
// for a Broker whose acknowledgement includes the delivery (the in-memory
// channel's) or too low for Kafka's. A queue in front of the bound would add
// latency and memory and no throughput; the senders have a queue.
//
// Invariants: waiting never exceeds max(limit, minWaiting) by more than requests
// that entered before it fell; requests of one slow spell lower it once, since
// only one that entered after the last fall may lower it again.
type admission struct {
	slow time.Duration

	mu      sync.Mutex
	limit   float64
	waiting int
	lowered time.Time // when limit last fell

	second       time.Time // that acknowledgements are counted in
	acks, lately int       // in this second, and in the last whole one
	back         time.Time // when the next sender who is turned away may come back
}

func newAdmission(slow time.Duration) *admission {
	return &admission{slow: slow, limit: firstWaiting}
}

// full reports whether a request that came now would be turned away. It is asked
// before a body is read.
func (a *admission) full() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.taken()
}

// taken reports whether there is no place; mu is held.
func (a *admission) taken() bool { return a.waiting >= int(a.limit) }

// enter takes a place, which leave gives back; it is false if there is none.
func (a *admission) enter() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.taken() {
		return false
	}
	a.waiting++
	return true
}

func (a *admission) leave() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waiting--
}

// answered is told of each event how long the Broker took, or was waited for, and
// whether it acknowledged. A batch has one place and many answers.
func (a *admission) answered(began, now time.Time, acknowledged bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.count(now); acknowledged {
		a.acks++
	}
	took, waiting := now.Sub(began), float64(a.waiting)
	switch {
	case took > a.slow:
		if began.After(a.lowered) {
			a.limit, a.lowered = max(minWaiting, min(a.limit, waiting)*max(sharpest, float64(a.slow)/float64(took))), now
		}
	case 2*waiting >= a.limit: // a limit that nobody comes near to tells nothing
		more := 1.0
		if !a.lowered.IsZero() {
			more = 1 / a.limit
		}
		a.limit = min(maxWaiting, a.limit+more)
	}
}

// count begins another second of acknowledgements when one is over; mu is held.
func (a *admission) count(now time.Time) {
	switch past := now.Sub(a.second); {
	case past < time.Second:
		return
	case past < 2*time.Second:
		a.lately = a.acks
	default:
		a.lately = 0
	}
	a.second, a.acks = now, 0
}

// turnedAway is how long a sender who is turned away now should stay away. Each gets
// a moment of its own, twice as many in a second as the Broker acknowledged in the last
// one: a Broker that refuses at once is not asked by more. With a fixed time their number would grow for as long as more is offered than
// the Broker takes, and refusing them, through ingress, activator and queue-proxy,
// would take the processors that the Broker needs.
func (a *admission) turnedAway(now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.count(now)
	if soonest := now.Add(time.Second); a.back.Before(soonest) {
		a.back = soonest
	}
	wait := a.back.Sub(now)
	if wait > longestOff {
		return longestOff/2 + rand.N(longestOff/2)
	}
	a.back = a.back.Add(time.Second / time.Duration(max(fewestBack, 2*a.lately)))
	return wait
}

// retryAfter is a Retry-After of a time and up to a second more, drawn, since the
// header has whole seconds.
func retryAfter(wait time.Duration) string {
	return strconv.Itoa(1 + int((wait + rand.N(time.Second)).Seconds()))
}
