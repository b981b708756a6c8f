package main

import (
	"context"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// ledger holds what was sent in a phase and which results came back.
type ledger struct {
	mu       sync.Mutex
	sent     map[string]*sent // by the id of the result
	states   map[string]int64 // player → events in its state, as results say
	results  int
	repeated int
	last     time.Time
	gap      time.Duration
	latency  *hdrhistogram.Histogram // µs from the intended time
	// room has one token for each sent event without a result. It bounds the queue of a
	// phase at full speed.
	room chan struct{}
}

// stall is how long a system may give no result before it counts as stopped. It is longer
// than Kafka's default time-out for a dead member.
const stall = 90 * time.Second

type sent struct {
	at   time.Time
	came bool
}

// inFlight bounds how many events wait for their results in such a phase. It is far more
// than any system needs to be busy, including Kafka with its commits every 100 ms.
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

// result notes that a result came. applied, unless 0, is how many events the player's state holds.
func (l *ledger) result(id, player string, applied int64) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.states[player] = max(l.states[player], applied)
	s := l.sent[id]
	switch {
	case s == nil: // it belongs to an earlier phase
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

// applied is how many events all states hold, by their results.
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

// drained waits until every result is there, or until none came for too long.
func (l *ledger) drained(ctx context.Context) {
	for ctx.Err() == nil {
		if due, last := l.progress(); due == 0 || time.Since(last) > stall {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	time.Sleep(200 * time.Millisecond) // repeated results come late
}
