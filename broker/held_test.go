package broker_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	ce "github.com/cloudevents/sdk-go/v2/event"

	"pitboss/broker"
)

// What a Trigger has no room for in memory is kept in the log: the other
// Triggers do not wait, and nothing is lost over a restart.
func TestMoreThanMemoryTakes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var up atomic.Bool
	stuck := newSubscriber(t, func(w http.ResponseWriter, _ ce.Event, _ int) {
		if !up.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	well := newSubscriber(t, nil)
	specs := []spec{{name: "stuck", to: stuck}, {name: "well", to: well}}
	small := options{dir: dir, broker: strings.Replace(fastBroker, "PT0.01S", "PT60S", 1), config: func(c *broker.Config) { c.Pending = 4 }}
	b := open(t, small, specs...)
	const n = 40
	want := make([]string, n)
	for i := range n {
		want[i] = fmt.Sprintf("%03d", i)
		if code, body := post(t, b.URL(), "x", want[i], "Ce-Partitionkey", "one"); code != http.StatusAccepted {
			t.Fatalf("POST: %d %s", code, body)
		}
	}
	for range n {
		<-well.seen
	}
	for _, s := range b.Stats().Triggers {
		if s.Name == "stuck" && (s.Lag != n || s.InFlight > 4) {
			t.Errorf("lag %d, %d in memory; want %d and at most 4", s.Lag, s.InFlight, n)
		}
	}
	drain(t, b)
	before := len(stuck.events())
	up.Store(true)
	b = open(t, small, specs...)
	quiet(t, b)
	var got []string
	for _, e := range stuck.events()[before:] {
		got = append(got, e.ID())
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("after the restart came %v", got)
	}
	if got := len(well.events()); got != n {
		t.Errorf("the other Trigger got %d events, want %d", got, n)
	}
}

// An event that a producer gave more hops than the Broker gives by default is
// kept, and delivered after a restart, as any other.
func TestAnEventWithAHighTTLSurvivesARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var up atomic.Bool
	s := newSubscriber(t, func(w http.ResponseWriter, _ ce.Event, _ int) {
		if !up.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	slow := options{dir: dir, broker: strings.Replace(fastBroker, "PT0.01S", "PT60S", 1)}
	b := open(t, slow, spec{name: "s", to: s})
	if code, body := post(t, b.URL(), "x", "far", "Ce-Knativebrokerttl", "1000"); code != http.StatusAccepted {
		t.Fatalf("POST: %d %s", code, body)
	}
	<-s.seen
	drain(t, b)
	up.Store(true)
	before := len(s.events())
	quiet(t, open(t, slow, spec{name: "s", to: s}))
	if got := s.events()[before:]; len(got) != 1 || got[0].ID() != "far" {
		t.Errorf("after the restart came %v", got)
	}
}

// A replayed dead letter whose delivery fails again for the time being survives a restart.
func TestReplayedLetterIsHeldUntilDelivered(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var answer atomic.Int32
	answer.Store(http.StatusBadRequest)
	sub := newSubscriber(t, func(w http.ResponseWriter, _ ce.Event, _ int) { w.WriteHeader(int(answer.Load())) })
	o := options{dir: dir, broker: strings.Replace(fastBroker, "PT0.01S", "PT60S", 1)}
	b := open(t, o, spec{name: "t", to: sub})
	post(t, b.URL(), "x", "1")
	quiet(t, b)
	letters, err := b.DeadLetters.List(context.Background(), "", 1)
	if err != nil || len(letters) != 1 {
		t.Fatalf("dead letters %v, %v", letters, err)
	}
	<-sub.seen
	answer.Store(http.StatusServiceUnavailable)
	if err := b.DeadLetters.Replay(context.Background(), letters[0].ID); err != nil {
		t.Fatal(err)
	}
	<-sub.seen
	<-sub.seen // the first retry of a linear backoff is immediate; it waits for the second now
	drain(t, b)
	answer.Store(http.StatusOK)
	b = open(t, o, spec{name: "t", to: sub})
	quiet(t, b)
	if events := sub.events(); events[len(events)-1].ID() != "1" || len(events) < 3 {
		t.Errorf("after the restart: %d events in all", len(events))
	}
	if letters, _ := b.DeadLetters.List(context.Background(), "", 1); len(letters) != 0 {
		t.Errorf("dead letters %+v, want none", letters)
	}
}
