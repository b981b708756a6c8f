package functions

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"

	ce "github.com/cloudevents/sdk-go/v2/event"
	sdkhttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"go.uber.org/zap"

	"pitboss/internal/cehttp"
	"pitboss/internal/setup"
	"pitboss/internal/telemetry"
)

// Function takes one event and answers with one event, nothing, or an error. It never
// publishes.
type Function interface {
	Lifecycle
	// Handle is called concurrently. event.Result says what the Broker does on an error.
	Handle(context.Context, ce.Event) (*ce.Event, error)
}

// Lifecycle is what func-go calls besides Handle.
type Lifecycle interface {
	Start(context.Context, map[string]string) error
	Stop(context.Context) error
	Ready(context.Context) (bool, error)
}

// maxBody is the largest request that an event function reads, in bytes. It is the
// Broker's own limit.
const maxBody = 1 << 20

// overHTTP serves a Function through func-go's http middleware: each request has one
// goroutine and its own context.
//
// It does not use func-go's cloudevents middleware, which hands requests to sdk-go's
// EventReceiver. The goroutines of that share one channel, so one may answer another's
// request, and it leaves without taking any if its own request ends first. A request
// then waits until a later one comes in: with 64 at once, about one in some thousands
// hung until the Broker's time-out (sdk-go v2.16.2).
type overHTTP struct {
	Lifecycle
	handle func(context.Context, ce.Event) (*ce.Event, error)
}

// Handle answers one POSTed event: 200 with the reply event or nothing, 4xx if it must
// not be retried, 5xx if it must. The body of an error says why.
func (f overHTTP) Handle(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "POST one CloudEvent", http.StatusMethodNotAllowed)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	e, err := decode(r)
	if err != nil {
		http.Error(w, short("not a CloudEvent: "+err.Error()), cehttp.Status(err))
		return
	}
	telemetry.Adopt(e, r.Header.Get("Traceparent"))
	reply, status, reason := f.Answer(r.Context(), e)
	switch {
	case status != http.StatusOK:
		http.Error(w, reason, status)
	case reply != nil:
		cehttp.WriteHeader(w.Header(), reply)
		w.Header().Set("Content-Length", strconv.Itoa(len(reply.Data()))) // net/http would send more than 2 KB in chunks
		_, _ = w.Write(reply.Data())                                      // if this fails, the sender sends the event again
	}
}

// Answer has the function handle an event. It returns 200 with a reply or nil, or the
// status and reason of a failure. A Broker in the same process calls it directly. A
// panic fails only the event that caused it.
func (f overHTTP) Answer(ctx context.Context, e *ce.Event) (reply *ce.Event, status int, reason string) {
	defer func() {
		if p := recover(); p != nil {
			setup.Logger("function").Error("panic", zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
			reply, status, reason = nil, http.StatusInternalServerError, "panic; the log has it"
		}
	}()
	reply, err := f.handle(ctx, *e)
	if err == nil {
		return reply, http.StatusOK, ""
	}
	status = http.StatusInternalServerError
	var result *sdkhttp.Result
	if errors.As(err, &result) {
		status = result.StatusCode
		err = fmt.Errorf(result.Format, result.Args...)
	}
	return nil, status, short(err.Error())
}

// maxReason bounds the body of an error answer, in bytes. Knative's dispatcher encodes
// it into a buffer of 1,024 bytes in base64. With more than 768 bytes eventing v0.50.0
// panics, which stops every Trigger of that process.
const maxReason = 700

func short(reason string) string {
	if len(reason) <= maxReason {
		return reason
	}
	return strings.ToValidUTF8(reason[:maxReason-len("…")], "") + "…"
}
