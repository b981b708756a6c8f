package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/binding"
	ce "github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/cloudevents/sdk-go/v2/types"
	"go.uber.org/zap"
	kbroker "knative.dev/eventing/pkg/broker"
	"knative.dev/eventing/pkg/utils"
)

const defaultTTL = 255 // as Knative's ingress sets it

// refusal is an event the Broker does not take, with the status that says so.
type refusal struct {
	status int
	detail string
}

func (r *refusal) Error() string { return r.detail }

var ttlDefaulter = kbroker.TTLDefaulter(zap.NewNop(), defaultTTL)

// accept is ingress without the HTTP: it stamps the arrival time, counts the
// TTL down and appends the event to the log. Replies come this way too.
func (b *Broker) accept(ctx context.Context, e *ce.Event, headers http.Header) error {
	if err := e.Validate(); err != nil {
		b.refused.Add(1)
		return &refusal{http.StatusBadRequest, "not a valid CloudEvent: " + strings.TrimSpace(err.Error())}
	}
	stamped := ttlDefaulter(ctx, *e)
	if ttl, err := kbroker.GetTTL(stamped.Context); err != nil || ttl <= 0 {
		b.refused.Add(1)
		return &refusal{http.StatusBadRequest, "knativebrokerttl is used up: the event went round in a loop of replies"}
	}
	stamped.SetExtension(kbroker.EventArrivalTime, types.Timestamp{Time: time.Now()})
	record, err := appendRecord(make([]byte, 0, 512+len(stamped.Data())), &stamped, headers)
	if err != nil {
		b.refused.Add(1)
		return &refusal{http.StatusBadRequest, err.Error()}
	}
	if err := b.log.append(ctx, subjectOf(stamped.Type()), record); err != nil {
		return err
	}
	b.accepted.Add(1)
	return nil
}

// passThrough keeps the headers that travel with an event (X-Request-Id, B3
// tracing, Knative-…), as Knative's Broker does.
func passThrough(h http.Header) http.Header { return utils.PassThroughHeaders(h) }

// serveIngress takes one event, binary or structured: 202 once it is in the
// log; 400 not a CloudEvent; 413 too large; 503 the log cannot take it, send
// it again.
func (b *Broker) serveIngress(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Allow", "POST, OPTIONS")
	switch {
	case r.URL.Path != "/" && strings.TrimSuffix(r.URL.Path, "/") != b.path():
		problem(w, http.StatusNotFound, "there is no Broker at "+r.URL.Path+"; POST to / or "+b.path())
		return
	case r.Method == http.MethodOptions: // CloudEvents web hook validation
		w.Header().Set("WebHook-Allowed-Origin", "*")
		w.Header().Set("WebHook-Allowed-Rate", "*")
		return
	case r.Method != http.MethodPost:
		problem(w, http.StatusMethodNotAllowed, "POST one CloudEvent")
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, b.cfg.MaxBody)
	m := cehttp.NewMessageFromHttpRequest(r)
	e, err := binding.ToEvent(r.Context(), m)
	if err == nil {
		err = b.accept(r.Context(), e, passThrough(r.Header))
	} else {
		err = unreadable(err, b.cfg.MaxBody)
		b.refused.Add(1)
	}
	var refused *refusal
	switch {
	case err == nil:
		w.WriteHeader(http.StatusAccepted)
	case errors.As(err, &refused):
		problem(w, refused.status, refused.detail)
	default:
		b.cfg.Logger.Error("event not accepted", zap.Error(err))
		w.Header().Set("Retry-After", "1")
		problem(w, http.StatusServiceUnavailable, "the log cannot take the event now; send it again")
	}
}

func unreadable(err error, limit int64) *refusal {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return &refusal{http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is larger than %d bytes", limit)}
	case errors.Is(err, binding.ErrUnknownEncoding):
		return &refusal{http.StatusBadRequest, "not a CloudEvent: want ce-specversion, ce-id, ce-source and ce-type headers, or content type application/cloudevents+json"}
	}
	return &refusal{http.StatusBadRequest, "not a CloudEvent: " + err.Error()}
}

// problem answers with a problem body (RFC 9457).
func problem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"title": http.StatusText(status), "status": status, "detail": detail})
}
