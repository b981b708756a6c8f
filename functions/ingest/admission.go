package ingest

import (
	"context"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"
)

const (
	minWaiting   = 4    // requests that may wait for the Broker however slow it is
	firstWaiting = 16   // see admission on why it is low
	calmWaiting  = 64   // fast answers raise the limit to this without demand
	maxWaiting   = 200  // func.yaml lets as many into an instance
	mostQueued   = 128  // requests that may wait for a place during slow start
	slowShare    = 10   // an answer is slow after a tenth of INGEST_TIMEOUT
	sharpest     = 0.25 // a slow answer leaves at least this share of the limit

	fewestBack = 10          // at least so many senders are invited back each second
	longestOff = time.Minute // the longest that a sender is told to stay away
	sizeOver   = 16          // requests over which the mean batch is taken
)

// admission bounds how many requests wait for the Broker at once, and finds the
// bound by itself. An answer that took longer than slow means that the Broker is
// behind: the limit falls to the number that would have been answered in time
// (Little's law: waiting = rate × latency). Fast answers raise it as TCP does: it
// doubles in each round of answers until it falls for the first time (slow start),
// and rises by one in each round after that (congestion avoidance).
//
// Without it a Broker that falls behind never catches up. It goes on delivering
// requests that ingest gave up on, their senders send them again, and all of its work
// is for answers that nobody waits for. A fixed bound would be too high for a Broker
// that acknowledges after delivery (the in-memory channel's) or too low for Kafka's.
//
// During slow start the limit says little about the Broker, and an instance that has just
// taken over from another gets at once what waited in the meantime. So a request without
// a place then waits in a queue for the first answers. Slow start, and the queue with it,
// ends when the limit falls or when a request has waited as long as slow: a queue in
// front of a Broker that is behind would add latency, memory and load for the autoscaler
// to see, but no throughput, and the senders have a queue.
//
// Each instance has a bound of its own. Requests that wait for a slow Broker look to
// Knative's autoscaler like load on ingest, so it starts further instances, which the
// Broker gains nothing from. The bound of a new instance is therefore low until its first
// answers are in, and slow is short: together the instances then let in little more than
// one does, and no further ones come.
//
// Invariants: waiting exceeds max(limit, minWaiting) only by requests that entered
// before the limit fell. One slow spell lowers the limit once, since only a request
// that entered after the last fall lowers it again. The queue is empty unless all places
// are taken, and after slow start it stays empty.
type admission struct {
	slow time.Duration

	mu      sync.Mutex
	limit   float64
	waiting int
	lowered time.Time   // when limit last fell or slow start ended; zero: slow start
	queue   []chan bool // requests that wait for a place, oldest first; each is told once whether it has one

	second       time.Time // when the current second of counting began
	acks, lately int       // events acknowledged in this second, and in the last whole one
	size         float64   // mean number of events of a request
	back         time.Time // when the next sender who is turned away may come back
}

func newAdmission(slow time.Duration) *admission {
	return &admission{slow: slow, limit: firstWaiting, size: 1}
}

// full reports whether a request would be turned away now. It is called before a body
// is read.
func (a *admission) full() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.taken()
}

// taken reports whether there is neither a place nor room in the queue. mu is held.
func (a *admission) taken() bool {
	return a.waiting >= int(a.limit) && (!a.lowered.IsZero() || len(a.queue) >= mostQueued)
}

// enter takes a place for a request of that many events, during slow start after waiting
// for one. It returns false if there is none. The caller gives the place back with leave.
func (a *admission) enter(ctx context.Context, events int) bool {
	a.mu.Lock()
	if a.taken() {
		a.mu.Unlock()
		return false
	}
	a.size += (float64(events) - a.size) / sizeOver
	if a.waiting < int(a.limit) {
		a.waiting++
		a.mu.Unlock()
		return true
	}
	place := make(chan bool, 1)
	a.queue = append(a.queue, place)
	a.mu.Unlock()
	patience := time.NewTimer(a.slow)
	defer patience.Stop()
	select {
	case ok := <-place:
		return ok
	case <-patience.C:
	case <-ctx.Done():
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	i := slices.Index(a.queue, place)
	if i < 0 {
		return <-place // it was told in the meantime
	}
	a.queue = slices.Delete(a.queue, i, i+1)
	if ctx.Err() == nil {
		a.lowered = time.Now()
		a.next()
	}
	return false
}

func (a *admission) leave() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waiting--
	a.next()
}

// next gives free places to the queue. After slow start it turns away those who get
// none. mu is held.
func (a *admission) next() {
	for len(a.queue) > 0 {
		free := a.waiting < int(a.limit)
		if !free && a.lowered.IsZero() {
			return
		}
		if free {
			a.waiting++
		}
		a.queue[0] <- free
		a.queue = a.queue[1:]
	}
}

// answered records the Broker's answer to one event: when it was asked, and whether it
// acknowledged. A batch takes one place and gets many answers.
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
	case a.limit < calmWaiting || 2*waiting >= a.limit: // otherwise the answer says nothing about the limit
		more := 1.0
		if !a.lowered.IsZero() {
			more = 1 / a.limit
		}
		a.limit = min(maxWaiting, a.limit+more)
	}
	a.next()
}

// count starts the next second of counting if the current one is over. mu is held.
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

// turnedAway returns how long a sender should stay away whose request of that many
// events is turned away now; 0: its body was not read, so the mean is assumed. Senders
// get slots one after another, so that twice as many events come back in a second as
// the Broker acknowledged in the last one. Only acknowledgements count: a Broker that
// refuses everything at once must not look fast. However large their batches are,
// fewestBack senders come back in a second, so that a Broker that has recovered is
// noticed soon; to refuse so few costs little.
//
// With a fixed time the number of senders that come back would grow for as long as
// more is offered than the Broker takes. Each of them passes through the ingress, the
// activator and queue-proxy, on the processors that the Broker needs.
func (a *admission) turnedAway(now time.Time, events int) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.count(now)
	size := float64(events)
	if events == 0 {
		size = a.size
	}
	if soonest := now.Add(time.Second); a.back.Before(soonest) {
		a.back = soonest
	}
	wait := a.back.Sub(now)
	if wait > longestOff {
		return longestOff/2 + rand.N(longestOff/2)
	}
	perSecond := max(fewestBack, 2*float64(a.lately)/size)
	a.back = a.back.Add(time.Duration(float64(time.Second) / perSecond))
	return wait
}

// retryAfter is the header's value for a wait. It adds a random part of a second, since
// the header has whole seconds only.
func retryAfter(wait time.Duration) string {
	return strconv.Itoa(1 + int((wait + rand.N(time.Second)).Seconds()))
}
