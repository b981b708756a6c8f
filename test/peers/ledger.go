package main

import (
	"context"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// ledger knows what was sent in a phase and what came of it.
type ledger struct {
	mu       sync.Mutex
	sent     map[string]*sent // by the id of the result
	states   map[string]int64 // player → events in its state, as results say
	results  int
	repeated int
	last     time.Time
	gap      time.Duration
	latency  *hdrhistogram.Histogram // µs from the intended time
	// room has one token for each event that is sent and without a result: it
	// bounds the queue of a phase that goes as fast as it can.
	room chan struct{}
}

// stall is how long nothing may come before a system is given up: longer than
// Kafka waits for a member that died, by default.
const stall = 90 * time.Second

type sent struct {
	at   time.Time
	came bool
}

// inFlight bounds how many events wait for their results in such a phase. It
// is far more than any of the systems needs to be busy, Kafka with its commits
// every 100 ms included.
const inFlight = 1024

func newLedger() *ledger { return &ledger{states: map[string]int64{}} }

// begin forgets the phase before.
func (l *ledger) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent, l.results, l.repeated, l.gap, l.last = map[string]*sent{}, 0, 0, 0, time.Now()
	l.latency, l.room = newHistogram(), make(chan struct{}, inFlight)
}

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, int64(10*time.Minute/time.Microsecond), 3)
}

// expect notes that the result of an event is due.
func (l *ledger) expect(result string, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent[result] = &sent{at: at}
}

// result notes that one came. applied, unless 0, is how many events the player's state holds.
func (l *ledger) result(id, player string, applied int64) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.states[player] = max(l.states[player], applied)
	s := l.sent[id]
	switch {
	case s == nil: // of an earlier phase
		return
	case s.came:
		l.repeated++
		return
	}
	s.came = true
	l.results++
	l.gap, l.last = max(l.gap, now.Sub(l.last)), now
	_ = l.latency.RecordValue(now.Sub(s.at).Microseconds())
	select {
	case <-l.room:
	default:
	}
}

// applied is how many events all states hold, as results say.
func (l *ledger) applied() (sum int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range l.states {
		sum += n
	}
	return sum
}

// progress is how many results are still due, and when the last one came.
func (l *ledger) progress() (due int, last time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.sent) - l.results, l.last
}

// drained waits until every result is there, or none came for too long.
func (l *ledger) drained(ctx context.Context) {
	for ctx.Err() == nil {
		if due, last := l.progress(); due == 0 || time.Since(last) > stall {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	time.Sleep(200 * time.Millisecond) // a repeated result comes late
}
