package ingest

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// limiter keeps a token bucket for each producer. Producers are those that
// authenticated, so their number is bounded by configuration.
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

// take takes n events' worth for producer; a positive result is how long to wait first.
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
		return time.Minute // larger than the burst: no wait would help, the producer must split it
	}
	wait := r.DelayFrom(now)
	if wait > 0 {
		r.CancelAt(now)
	}
	return wait
}
