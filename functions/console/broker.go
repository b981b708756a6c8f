package console

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"pitboss/internal/repeat"
)

// brokerClient calls the one-machine Broker's admin API. A cluster has none: there
// lag and retries are in the Broker's own metrics, and dead letters come in by POST.
type brokerClient struct {
	url  string
	http *http.Client
	last atomic.Pointer[brokerStatus]
}

// brokerStatus holds the Broker's counters.
type brokerStatus struct {
	Known       bool            `json:"known"`
	Error       string          `json:"error,omitzero"`
	Accepted    int64           `json:"accepted"`
	Refused     int64           `json:"refused"`
	Waiting     uint64          `json:"waiting"`
	DeadLetters uint64          `json:"dead_letters"`
	Retried     int64           `json:"retried"`
	Full        string          `json:"full,omitzero"` // why it takes no events now; empty: it does
	Lost        []lost          `json:"lost,omitzero"` // messages that its damaged log lost
	Triggers    []triggerStatus `json:"triggers"`
}

// lost is a range of acknowledged messages that the Broker's log lost.
type lost struct {
	Found  time.Time `json:"found"`
	Stream string    `json:"stream"`
	From   uint64    `json:"from"`
	To     uint64    `json:"to"`
	Events int       `json:"events"`
}

func (s *brokerStatus) lostEvents() (n int) {
	for _, l := range s.Lost {
		n += l.Events
	}
	return n
}

type triggerStatus struct {
	Name         string `json:"name"`
	Delivered    int64  `json:"delivered"`
	Retried      int64  `json:"retried"`
	DeadLettered int64  `json:"dead_lettered"`
	InFlight     int    `json:"in_flight"`
	Lag          uint64 `json:"lag"`
}

func newBrokerClient(url string) *brokerClient {
	return &brokerClient{url: strings.TrimSuffix(url, "/"), http: &http.Client{Timeout: 5 * time.Second}}
}

func (b *brokerClient) known() bool { return b.url != "" }

// watch reads the counters every so often until ctx ends.
func (b *brokerClient) watch(ctx context.Context, every time.Duration) {
	if !b.known() {
		return
	}
	for range repeat.Now(ctx, every) {
		s := brokerStatus{Known: true}
		if err := b.call(ctx, http.MethodGet, "/admin/stats", &s); err != nil {
			s = brokerStatus{Known: true, Error: err.Error()}
			if old := b.last.Load(); old != nil { // the page goes on showing the last known counts
				s = *old
				s.Error = err.Error()
			}
		} else {
			for _, t := range s.Triggers {
				s.Retried += t.Retried
			}
		}
		b.last.Store(&s)
	}
}

func (b *brokerClient) status() brokerStatus {
	if s := b.last.Load(); s != nil {
		return *s
	}
	return brokerStatus{Triggers: []triggerStatus{}}
}

var errNotFound = errors.New("console: not found")

// call sends a request to the admin API and decodes the answer into v.
func (b *brokerClient) call(ctx context.Context, method, path string, v any) error {
	req, err := http.NewRequestWithContext(ctx, method, b.url+path, bytes.NewReader(nil))
	if err != nil {
		return fmt.Errorf("console: broker: %w", err)
	}
	res, err := b.http.Do(req)
	if err != nil {
		return fmt.Errorf("console: broker: %w", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 32<<20))
	switch {
	case err != nil:
		return fmt.Errorf("console: broker: %w", err)
	case res.StatusCode == http.StatusNotFound:
		return errNotFound
	case res.StatusCode != http.StatusOK:
		return fmt.Errorf("console: broker answered %s: %s", res.Status, clip(string(body), 200))
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("console: broker: %w", err)
	}
	return nil
}
