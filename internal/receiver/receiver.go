// Package receiver serves a CloudEvents function over func-go's HTTP server.
//
// It stands in for func-go's own CloudEvents middleware, whose sdk-go receiver
// (v2.16.2, client.EventReceiver) hands requests to goroutines through one
// shared channel: a request may be processed under another's context, and a
// goroutine whose own request was answered by another ends without taking one,
// after which some request waits for good. Under a few thousand events/s over
// some dozen connections that stops the server within seconds. Here each
// request is decoded, handled and answered by its own goroutine; the mapping
// of results to status codes is the same.
package receiver

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/cloudevents/sdk-go/v2/binding"
	ce "github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/protocol"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/cloudevents/sdk-go/v2/types"
)

// Function takes one event and returns one event, nothing, or an error.
type Function interface {
	Handle(ctx context.Context, e ce.Event) (*ce.Event, error)
}

// Handler is a Function as func-go's HTTP middleware wants it. Start, Stop,
// Ready and Alive are the Function's, where it has them.
type Handler struct{ f Function }

// New wraps f.
func New(f Function) *Handler { return &Handler{f} }

// Handle answers one request: 200 with the reply event, 200 without a body
// when there is none, the status of a protocol/http Result, 500 for any other
// error, 415 for what is no CloudEvent.
func (h *Handler) Handle(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "POST a CloudEvent", http.StatusMethodNotAllowed)
		return
	}
	e, err := decode(r)
	if err != nil {
		status := http.StatusBadRequest
		if errors.Is(err, binding.ErrUnknownEncoding) {
			status = http.StatusUnsupportedMediaType
		}
		http.Error(w, err.Error(), status)
		return
	}
	reply, err := h.f.Handle(r.Context(), *e)
	switch {
	case err != nil:
		status := http.StatusInternalServerError
		var res *cehttp.Result
		if protocol.ResultAs(err, &res) && res.StatusCode > 100 && res.StatusCode < 600 {
			status = res.StatusCode
		}
		http.Error(w, err.Error(), status)
	case reply == nil:
		w.WriteHeader(http.StatusOK)
	default:
		respond(w, reply)
	}
}

// decode reads a CloudEvent in binary or structured mode.
func decode(r *http.Request) (*ce.Event, error) {
	if r.Header.Get("Ce-Specversion") != ce.CloudEventsVersionV1 {
		e, err := cehttp.NewEventFromHTTPRequest(r)
		if err != nil {
			return nil, err
		}
		return e, e.Validate()
	}
	e := ce.New()
	for name, values := range r.Header {
		if err := attribute(&e, name, values[0]); err != nil {
			return nil, err
		}
	}
	if err := e.Validate(); err != nil {
		return nil, err
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	if len(body) > 0 {
		e.DataEncoded = body
	}
	return &e, nil
}

// attribute sets the context attribute that an HTTP header carries (CloudEvents
// HTTP protocol binding 1.0.2, section 3.1.3), if it carries one.
func attribute(e *ce.Event, header, value string) error {
	if header == "Content-Type" {
		return e.Context.SetDataContentType(value)
	}
	name, ok := strings.CutPrefix(header, "Ce-")
	if !ok {
		return nil
	}
	switch name {
	case "Specversion":
		return nil
	case "Id":
		return e.Context.SetID(value)
	case "Type":
		return e.Context.SetType(value)
	case "Source":
		return e.Context.SetSource(value)
	case "Subject":
		return e.Context.SetSubject(value)
	case "Dataschema":
		return e.Context.SetDataSchema(value)
	case "Time":
		t, err := types.ParseTime(value)
		if err != nil {
			return err
		}
		return e.Context.SetTime(t)
	}
	return e.Context.SetExtension(strings.ToLower(name), value)
}

func respond(w http.ResponseWriter, reply *ce.Event) {
	// An error here is the connection's: the caller comes again.
	_ = cehttp.WriteResponseWriter(context.Background(), binding.ToMessage(reply), http.StatusOK, w)
}

// Start is the Function's.
func (h *Handler) Start(ctx context.Context, cfg map[string]string) error {
	if f, ok := h.f.(interface {
		Start(context.Context, map[string]string) error
	}); ok {
		return f.Start(ctx, cfg)
	}
	return nil
}

// Stop is the Function's.
func (h *Handler) Stop(ctx context.Context) error {
	if f, ok := h.f.(interface{ Stop(context.Context) error }); ok {
		return f.Stop(ctx)
	}
	return nil
}

// Ready is the Function's; without one, always.
func (h *Handler) Ready(ctx context.Context) (bool, error) {
	if f, ok := h.f.(interface {
		Ready(context.Context) (bool, error)
	}); ok {
		return f.Ready(ctx)
	}
	return true, nil
}

// Alive is the Function's; without one, always.
func (h *Handler) Alive(ctx context.Context) (bool, error) {
	if f, ok := h.f.(interface {
		Alive(context.Context) (bool, error)
	}); ok {
		return f.Alive(ctx)
	}
	return true, nil
}
