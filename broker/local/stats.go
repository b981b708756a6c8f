package main

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/go-json-experiment/json"
	"github.com/prometheus/client_golang/prometheus"

	"pitboss/broker"
	"pitboss/internal/cli"
	"pitboss/internal/telemetry"
)

// stats answers /stats, /stats/reset and /metrics on the Broker's address.
type stats struct {
	tally  *tally
	broker *broker.Broker
	ready  atomic.Bool

	mu   sync.Mutex
	base cli.Stats // the counters at the last reset
}

// health returns an error until every function is ready.
func (s *stats) health(context.Context) error {
	if !s.ready.Load() {
		return errors.New("the functions are starting")
	}
	return nil
}

func (s *stats) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/stats":
		w.Header().Set("Content-Type", "application/json")
		_ = json.MarshalWrite(w, s.now())
	case "/stats/reset":
		if r.Method != http.MethodPost {
			http.Error(w, "POST", http.StatusMethodNotAllowed)
			return
		}
		s.mu.Lock()
		s.base = s.counters()
		s.mu.Unlock()
		s.tally.reset()
	case "/metrics":
		telemetry.MetricsHandler().ServeHTTP(w, r)
	}
}

// now returns the counts since the last reset.
func (s *stats) now() cli.Stats {
	out, c := s.tally.snapshot(), s.counters()
	s.mu.Lock()
	defer s.mu.Unlock()
	out.Applied = c.Applied - s.base.Applied
	out.Duplicates = c.Duplicates - s.base.Duplicates
	out.Late = c.Late - s.base.Late
	out.DeadLetters = c.DeadLetters - s.base.DeadLetters
	out.Pending = c.Pending
	return out
}

// counters reads the totals since the start. The profile function runs in this
// process, so its counts come from its metrics; the others come from the Broker.
func (s *stats) counters() (c cli.Stats) {
	families, _ := prometheus.DefaultGatherer.Gather()
	for _, f := range families {
		if f.GetName() != "pitboss_profile_events_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			n := int64(m.GetCounter().GetValue())
			switch m.GetLabel()[0].GetValue() {
			case "applied":
				c.Applied = n
			case "duplicate":
				c.Duplicates = n
			case "late":
				c.Late = n
			}
		}
	}
	c.DeadLetters, c.Pending = s.broker.Backlog()
	return c
}
