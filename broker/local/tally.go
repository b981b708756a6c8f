package main

import (
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	ce "github.com/cloudevents/sdk-go/v2/event"
	lru "github.com/hashicorp/golang-lru/v2"

	"pitboss/internal/cehttp"
	"pitboss/internal/cli"
	"pitboss/internal/event"
)

// tally stands in for a consumer of Pitboss on one machine. It receives scores and
// recommendations through its own Triggers (broker/local/triggers) and counts them
// for `pitboss replay` and GET /stats.
type tally struct {
	answer func(*ce.Event) error // hands recommendations to the simulator's players; nil without a simulator

	mu      sync.Mutex
	seen    *lru.Cache[string, struct{}] // event ids, so that a redelivered event counts once
	stats   cli.Stats
	latency *hdrhistogram.Histogram // microseconds from the Broker's receipt to here
}

func newTally(answer func(*ce.Event) error) *tally {
	t := &tally{answer: answer}
	t.seen, _ = lru.New[string, struct{}](1 << 17) // it fails only for sizes below 1
	t.reset()
	return t
}

func (t *tally) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seen.Purge()
	t.stats = cli.Stats{Suppressed: map[string]int64{}}
	t.latency = hdrhistogram.New(1, int64(10*time.Minute/time.Microsecond), 3)
}

// snapshot returns the counts of scores and recommendations. The caller adds the
// counters of the profile function and the Broker.
func (t *tally) snapshot() cli.Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.stats
	s.Suppressed = make(map[string]int64, len(t.stats.Suppressed))
	maps.Copy(s.Suppressed, t.stats.Suppressed)
	s.P50Ms = float64(t.latency.ValueAtQuantile(50)) / 1000
	s.P99Ms = float64(t.latency.ValueAtQuantile(99)) / 1000
	return s
}

// maxEvent is the Broker's limit of an event's body, in bytes.
const maxEvent = 1 << 20

// ServeHTTP takes one event from a Trigger.
func (t *tally) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	body, err := event.ReadBody(w, r, maxEvent)
	if err == nil {
		var m *cehttp.Message
		if m, err = cehttp.Read(r.Header, body); err == nil {
			if e := m.Event(); !t.count(e, now) {
				err = t.pass(e)
			}
		}
	}
	if err != nil {
		http.Error(w, err.Error(), cehttp.Status(err))
	}
}

func (t *tally) pass(e *ce.Event) error {
	if t.answer == nil {
		return nil
	}
	return t.answer(e)
}

// count adds e to the stats and reports whether it was seen before.
func (t *tally) count(e *ce.Event, now time.Time) (again bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if again, _ = t.seen.ContainsOrAdd(e.ID(), struct{}{}); again {
		return true
	}
	switch e.Type() {
	case event.TypePlayerScored:
		t.stats.Scored++
		return false
	case event.TypeRecommendation:
		t.stats.Issued++
	case event.TypeSuppressed:
		t.stats.Suppressed[suppressedBy(e)]++
	}
	if s, ok := e.Extensions()[event.ExtReceived].(string); ok {
		if at, err := time.Parse(time.RFC3339Nano, s); err == nil {
			_ = t.latency.RecordValue(now.Sub(at).Microseconds()) // ignores latencies over 10 minutes
		}
	}
	return false
}

// suppressedBy returns the rule that blocked the best action or, if no rule did, the
// first reason code.
func suppressedBy(e *ce.Event) string {
	rec, err := event.Decode[event.Recommendation](e)
	switch {
	case err != nil:
		return "unreadable"
	case len(rec.Blocked) > 0:
		return rec.Blocked[0].Rule
	case len(rec.Reasons) > 0:
		return rec.Reasons[0].Code
	}
	return "no-reason"
}
