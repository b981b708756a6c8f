package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/types"
	"go.uber.org/zap"

	"pitboss/internal/cehttp"
	"pitboss/internal/event"
	"pitboss/internal/telemetry"
)

const (
	defaultTTL = 255 // the default of Knative's ingress
	// These are attributes of Knative's Broker (knative.dev/eventing/pkg/broker).
	ttlAttribute     = "knativebrokerttl"
	arrivalAttribute = "knativearrivaltime"
)

// refusal is the error of an event that the Broker refuses, with its HTTP status.
type refusal struct {
	status int
	detail string
}

func (r *refusal) Error() string { return r.detail }

// ttlLeft returns the TTL that Knative's TTLDefaulter sets. For a reply it counts
// down answers, the TTL of the answered event. Otherwise answers is 0, and own is the
// event's knativebrokerttl or "".
func ttlLeft(answers int32, own string) int32 {
	if answers > 0 {
		return answers - 1
	}
	left, err := types.ToInteger(own)
	if err != nil {
		return defaultTTL
	}
	return max(0, left-1)
}

// admit validates an event and stamps its arrival. For a reply, ttl is the TTL of the
// answered event; otherwise it is 0.
func (b *Broker) admit(m *message, ttl int32) error {
	err := b.stamp(m, ttl)
	if err != nil {
		b.refused.Add(1)
	} else {
		b.accepted.Add(1)
	}
	return err
}

func (b *Broker) stamp(m *message, ttl int32) error {
	if m.invalid != nil {
		return &refusal{http.StatusBadRequest, "not a valid CloudEvent: " + m.invalid.Error()}
	}
	if !m.valid {
		if err := m.event().Validate(); err != nil {
			return &refusal{http.StatusBadRequest, "not a valid CloudEvent: " + strings.TrimSpace(err.Error())}
		}
	}
	m.ttl = ttlLeft(ttl, m.drop(ttlAttribute))
	if m.ttl <= 0 {
		return &refusal{http.StatusBadRequest, "knativebrokerttl is used up: the event went round in a loop of replies"}
	}
	m.drop(arrivalAttribute)
	m.set(arrivalAttribute, types.FormatTime(time.Now()))
	return nil
}

// accept validates an event, puts it into the log and offers it to the Triggers.
func (b *Broker) accept(m *message) error {
	if err := b.admit(m, 0); err != nil {
		return err
	}
	return b.append(m)
}

// append puts an event into the log and offers it to the Triggers. It returns when
// the event is in the log or the write failed; the log limits how long that takes.
func (b *Broker) append(m *message) error {
	stored := make(chan error, 1)
	b.log.append(m.appendRecord(make([]byte, 0, m.size())), func(r *origin, err error) {
		if err == nil {
			b.dispatch(b.offer(m, r))
		}
		stored <- err
	})
	return <-stored
}

// offer gives an event to every Trigger that it matches, and ends the caller's
// reference to r. If next is not nil, the caller must have next.deliver called.
func (b *Broker) offer(m *message, r *origin) (next *trigger) {
	for _, triggers := range [...][]*trigger{b.byType[m.attribute("type")], b.ofAnyType} {
		for _, t := range triggers {
			if !t.offer(m, r) {
				continue
			}
			if next != nil {
				b.dispatch(next)
			}
			next = t
		}
	}
	b.log.end(r)
	return next
}

// serveIngress accepts one event in binary or structured mode. It answers 202 once
// the event is in the log, 400 for an invalid CloudEvent, 413 for a body that is too
// large, and 503 if the log cannot take the event now: the sender must retry.
func (b *Broker) serveIngress(w http.ResponseWriter, r *http.Request) {
	switch {
	case !b.isIngress(r.URL.Path):
		problem(w, http.StatusNotFound, "there is no Broker at "+r.URL.Path+"; POST to / or "+b.path)
		return
	case r.Method == http.MethodOptions: // CloudEvents web hook validation
		w.Header().Set("Allow", "POST, OPTIONS")
		w.Header().Set("WebHook-Allowed-Origin", "*")
		w.Header().Set("WebHook-Allowed-Rate", "*")
		return
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", "POST, OPTIONS")
		problem(w, http.StatusMethodNotAllowed, "POST one CloudEvent")
		return
	}
	m, err := readRequest(w, r, b.cfg.MaxBody)
	if refused := b.ingest(r.Context(), m, err, r.Header.Get("Traceparent")); refused != nil {
		if refused.status == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", "1")
		}
		problem(w, refused.status, refused.detail)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

func (b *Broker) isIngress(path string) bool {
	return path == "/" || strings.TrimSuffix(path, "/") == b.path
}

// ingest accepts the event m, unless err says that reading it failed. It returns nil
// once the event is in the log.
func (b *Broker) ingest(ctx context.Context, m *message, err error, traceparent string) *refusal {
	if err != nil {
		b.refused.Add(1)
		return unreadable(err, b.cfg.MaxBody)
	}
	end := m.traced(ctx, traceparent)
	err = b.accept(m)
	end(err)
	var refused *refusal
	if err == nil || errors.As(err, &refused) {
		return refused
	}
	if errors.Is(err, ErrFull) { // the log has logged it once
		return &refusal{http.StatusServiceUnavailable, "the log cannot take the event now; send it again: " + err.Error()}
	}
	e := m.event()
	b.cfg.Logger.Error("event not accepted", append(telemetry.Fields(&e), zap.Error(err))...)
	return &refusal{http.StatusServiceUnavailable, "the log cannot take the event now; send it again"}
}

func readRequest(w http.ResponseWriter, r *http.Request, limit int64) (*message, error) {
	body, err := event.ReadBody(w, r, limit)
	if err != nil {
		return nil, err
	}
	return readHTTP(r.Header, body)
}

func unreadable(err error, limit int64) *refusal {
	status := cehttp.Status(err)
	if status == http.StatusRequestEntityTooLarge {
		return &refusal{status, fmt.Sprintf("the body is larger than %d bytes", limit)}
	}
	return &refusal{status, "not a CloudEvent: " + err.Error()}
}

const problemType = "application/problem+json"

// problem answers with a problem body (RFC 9457).
func problem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", problemType)
	w.WriteHeader(status)
	_, _ = w.Write(problemBody(status, detail))
}

func problemBody(status int, detail string) []byte {
	body, _ := json.Marshal(map[string]any{"title": http.StatusText(status), "status": status, "detail": detail})
	return append(body, '\n')
}
