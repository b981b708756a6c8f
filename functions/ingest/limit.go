package ingest

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// limiter keeps a token bucket for each producer. Only authenticated producers get one,
// so configuration bounds their number.
type limiter struct {
	perSecond rate.Limit
	burst     int
	mu        sync.Mutex
	buckets   map[string]*rate.Limiter
}

func newLimiter(perSecond float64, burst int) *limiter {
	l := rate.Limit(perSecond)
	if perSecond <= 0 {
		l = rate.Inf
	}
	return &limiter{perSecond: l, burst: burst, buckets: map[string]*rate.Limiter{}}
}

// take takes tokens for n events of a producer. A positive result says how long the
// producer must wait before it sends them.
func (l *limiter) take(producer string, n int, now time.Time) time.Duration {
	l.mu.Lock()
	b, ok := l.buckets[producer]
	if !ok {
		b = rate.NewLimiter(l.perSecond, l.burst)
		l.buckets[producer] = b
	}
	l.mu.Unlock()
	r := b.ReserveN(now, n)
	if !r.OK() {
		return time.Minute // larger than the burst: no wait helps, the producer must split the batch
	}
	wait := r.DelayFrom(now)
	if wait > 0 {
		r.CancelAt(now)
	}
	return wait
}
