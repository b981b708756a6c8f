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

// Function takes one event and answers with one event, nothing, or an error;
// it never publishes.
type Function interface {
	Lifecycle
	// Handle is called concurrently. Its error decides what the Broker does:
	// see event.Result.
	Handle(context.Context, ce.Event) (*ce.Event, error)
}

// Lifecycle is what func-go calls besides Handle.
type Lifecycle interface {
	Start(context.Context, map[string]string) error
	Stop(context.Context) error
	Ready(context.Context) (bool, error)
}

// maxBody is the largest request an event function reads, in bytes: the
// Broker's own limit.
const maxBody = 1 << 20

// overHTTP serves a Function through func-go's http middleware.
//
// Not through its cloudevents middleware: that hands requests to sdk-go's
// EventReceiver, whose receiving goroutines share one channel, so a goroutine
// may answer another request, and when its own request ends first it leaves
// without taking one. Then a request waits until a later one comes by: with 64
// at once about one in some thousands hung until the Broker's time-out (sdk-go v2.16.2).
// One request, one goroutine, its own context: no such thing, and cheaper.
type overHTTP struct {
	Lifecycle
	handle func(context.Context, ce.Event) (*ce.Event, error)
}

// Handle answers one POSTed event: 200 with the reply event or nothing, 4xx
// never to be retried, 5xx to be retried; the body then says why.
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
		w.Header().Set("Content-Length", strconv.Itoa(len(reply.Data()))) // else net/http chunks what is over 2 KB
		_, _ = w.Write(reply.Data())                                      // a sender that went away will send the event again
	}
}

// Answer has the function handle an event. Its Broker calls it directly where
// both share a process, with the same outcome: 200 with a reply or nil, or the
// status and reason of a failure. A panic fails one event and no other.
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

// maxReason bounds the body of an error answer, in bytes. Knative's dispatcher
// puts it into knativeerrordata, base64-encoded into a buffer of 1,024 bytes: at
// over 768 bytes eventing v0.50.0 panics, and every Trigger of that process with it.
const maxReason = 700

func short(reason string) string {
	if len(reason) <= maxReason {
		return reason
	}
	return strings.ToValidUTF8(reason[:maxReason-len("…")], "") + "…"
}
