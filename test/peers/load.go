package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// sender sends an event and returns when it is acknowledged. It belongs to one goroutine.
type sender interface {
	send(e event) error
	close()
}

// load is one run of the loader.
type load struct {
	source source
	ledger *ledger
	result func(event) string // the id of an event's result
	open   func() sender
	rate   float64       // events/s; 0: full speed
	length time.Duration // 0: until the source ends

	mu      sync.Mutex // guards what follows
	began   time.Time
	due     float64 // seconds after began
	rng     *rand.Rand
	all     int
	refused int
	reason  string // why the last send was refused
}

// run sends over many connections. At a rate it sends events at the times of a Poisson
// process, whether or not the system keeps up, and a late send counts its waiting, so
// there is no coordinated omission. At full speed it keeps at most inFlight events
// without a result.
func (l *load) run(ctx context.Context) {
	conns := 64
	if l.rate > 0 {
		conns = 256 // more than are ever pending, so that no event waits for a connection
	}
	l.ledger.begin()
	l.began, l.rng = time.Now(), rand.New(rand.NewPCG(2, 0))
	var all sync.WaitGroup
	for range conns {
		all.Go(func() {
			s := l.open()
			defer s.close()
			for l.one(ctx, s) {
			}
		})
	}
	all.Wait()
}

// one sends the next event. It reports false at the end.
func (l *load) one(ctx context.Context, s sender) bool {
	if l.rate == 0 {
		select {
		case l.ledger.room <- struct{}{}:
		case <-time.After(stall): // the system has stopped
			return false
		}
	}
	e, ok := l.take()
	if !ok {
		return false
	}
	time.Sleep(time.Until(e.at))
	if !e.again {
		l.ledger.expect(l.result(e), e.at)
	}
	l.insist(ctx, s, e)
	if e.again && l.rate == 0 {
		select { // a repeated event has no result that would make room
		case <-l.ledger.room:
		default:
		}
	}
	return true
}

// take draws an event and the time at which it is to be sent.
func (l *load) take() (event, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := time.Now()
	if l.rate > 0 {
		l.due += l.rng.ExpFloat64() / l.rate
		at = l.began.Add(time.Duration(l.due * float64(time.Second)))
	}
	if l.length > 0 && at.Sub(l.began) > l.length {
		return event{}, false
	}
	e, ok := l.source()
	if ok {
		l.all++
	}
	e.at = at
	return e, ok
}

// insist sends an event until it is acknowledged, as a platform does.
func (l *load) insist(ctx context.Context, s sender, e event) {
	for ctx.Err() == nil {
		err := s.send(e)
		if err == nil {
			return
		}
		l.mu.Lock()
		l.refused, l.reason = l.refused+1, fmt.Sprint(err)
		l.mu.Unlock()
		time.Sleep(20 * time.Millisecond)
	}
}
