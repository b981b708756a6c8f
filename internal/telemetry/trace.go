package telemetry

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync/atomic"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"pitboss/internal/event"
)

// tracing is how spans are made now.
type tracing struct {
	tracer func(fn string) trace.Tracer
	share  float64 // of new traces that are kept
	on     bool    // there is somewhere to send spans
}

var current atomic.Pointer[tracing]

func init() { Use(noop.NewTracerProvider(), 0) }

// Use makes functions record spans with provider and keep share of new traces:
// for tests, and for processes that set OpenTelemetry up themselves.
func Use(provider trace.TracerProvider, share float64) {
	_, off := provider.(noop.TracerProvider)
	tracer := provider.Tracer(scope)
	current.Store(&tracing{func(string) trace.Tracer { return tracer }, share, !off})
}

const scope = "pitboss"

// sizes of a traceparent: "00-" trace id "-" span id "-" flags.
const (
	traceAt, spanAt, flagsAt, traceparentLen = 3, 36, 53, 55
)

// parse reads a traceparent (W3C Trace Context, version 00).
func parse(s string) (sc trace.SpanContext, ok bool) {
	if len(s) != traceparentLen || s[:3] != "00-" || s[35] != '-' || s[52] != '-' {
		return sc, false
	}
	var c trace.SpanContextConfig
	var flags [1]byte
	if !unhex(c.TraceID[:], s[traceAt:35]) || !unhex(c.SpanID[:], s[spanAt:52]) || !unhex(flags[:], s[flagsAt:]) {
		return sc, false
	}
	c.TraceFlags, c.Remote = trace.TraceFlags(flags[0]), true
	sc = trace.NewSpanContext(c)
	return sc, sc.IsValid()
}

func unhex(dst []byte, s string) bool {
	_, err := hex.Decode(dst, []byte(s))
	return err == nil
}

// format writes a span context as a traceparent.
func format(sc trace.SpanContext) string {
	b := make([]byte, 0, traceparentLen)
	t, s := sc.TraceID(), sc.SpanID()
	b = hex.AppendEncode(append(b, "00-"...), t[:])
	b = hex.AppendEncode(append(b, '-'), s[:])
	return string(hex.AppendEncode(append(b, '-'), []byte{byte(sc.TraceFlags())}))
}

// extension reads one attribute without copying them all, as e.Extensions does.
func extension(e *ce.Event, name string) string {
	v1, ok := e.Context.(*ce.EventContextV1)
	if !ok {
		s, _ := e.Extensions()[name].(string)
		return s
	}
	s, _ := v1.Extensions[name].(string)
	return s
}

// traceOf is the trace that an event belongs to; carried says whether it says
// so itself. One that does not has a trace of its own, the same wherever and
// however often it is delivered: its id is a hash of source and id.
func traceOf(e *ce.Event, share float64) (sc trace.SpanContext, carried bool) {
	if sc, ok := parse(extension(e, event.ExtTraceparent)); ok {
		return sc, true
	}
	return begun(e.Source(), e.ID(), share), false
}

// begun is the trace that begins with an event.
func begun(source, id string, share float64) trace.SpanContext {
	var room [256]byte
	b := append(append(append(room[:0], source...), 0), id...)
	sum := sha256.Sum256(b)
	c := trace.SpanContextConfig{TraceID: trace.TraceID(sum[:16]), SpanID: trace.SpanID(sum[16:24])}
	// The same test as OpenTelemetry's TraceIDRatioBased, so that both agree.
	if binary.BigEndian.Uint64(sum[8:16])>>1 < uint64(share*math.MaxInt64) {
		c.TraceFlags = trace.FlagsSampled
	}
	return trace.NewSpanContext(c)
}

// Traceparent is what [Accept] has an event carry whose own is given, "" for
// none, and that came with this header: for a Broker that has the attributes
// only as strings. ok is false where spans are kept, which is Accept's to do.
func Traceparent(own, header, source, id string) (traceparent string, ok bool) {
	t := current.Load()
	if t.on {
		return "", false
	}
	for _, s := range [...]string{own, header} {
		if _, carried := parse(s); carried {
			return s, true
		}
	}
	return format(begun(source, id, t.share)), true
}

// Adopt takes the trace of the HTTP request (its traceparent header) for an
// event that came without one: what instrumented platforms and Brokers send.
func Adopt(e *ce.Event, header string) {
	if _, ok := parse(header); !ok {
		return
	}
	if _, carried := parse(extension(e, event.ExtTraceparent)); !carried {
		e.SetExtension(event.ExtTraceparent, header)
	}
}

// step is what is done with an event, as OpenTelemetry's conventions for
// messaging name it. Accepting is a Broker's: they have no word for that.
type step struct {
	name string // of the operation, and first word of the span's
	typ  attribute.KeyValue
	kind trace.SpanKind
}

var (
	sending    = step{"send", semconv.MessagingOperationTypeSend, trace.SpanKindProducer}
	accepting  = step{"accept", semconv.MessagingOperationTypeReceive, trace.SpanKindServer}
	processing = step{"process", semconv.MessagingOperationTypeProcess, trace.SpanKindConsumer}
)

// part is one step's part of an event's trace.
type part struct {
	sc      trace.SpanContext // the step's own span where there is one, else what the event came with
	carried bool              // the event came with a traceparent
	span    trace.Span        // nil: not kept
}

// begin starts the step's span, when the event's trace is kept.
func begin(ctx context.Context, fn string, s step, e *ce.Event) (context.Context, part) {
	t := current.Load()
	sc, carried := traceOf(e, t.share)
	p := part{sc: sc, carried: carried}
	if !t.on || !sc.IsSampled() {
		return ctx, p
	}
	if carried {
		ctx = trace.ContextWithRemoteSpanContext(ctx, sc)
	} else {
		ctx = trace.ContextWithSpanContext(context.WithValue(ctx, rootKey{}, sc.TraceID()), trace.SpanContext{})
	}
	typ := known(e.Type())
	ctx, p.span = t.tracer(fn).Start(ctx, s.name+" "+typ, trace.WithSpanKind(s.kind), trace.WithAttributes(about(e, s, typ)...))
	if own := p.span.SpanContext(); own.IsValid() {
		p.sc = own
	}
	return ctx, p
}

// about is what a span says of the event; of the player only a hash. In
// Knative a Trigger subscribes to a type: that is a message's destination.
func about(e *ce.Event, s step, typ string) []attribute.KeyValue {
	attrs := make([]attribute.KeyValue, 0, 12) // room for the outcome's
	attrs = append(attrs, semconv.MessagingSystemKey.String("knative"), semconv.MessagingOperationName(s.name), s.typ,
		semconv.MessagingDestinationName(typ),
		semconv.CloudEventsEventID(e.ID()), semconv.CloudEventsEventSource(e.Source()),
		semconv.CloudEventsEventSpecVersion(e.SpecVersion()), semconv.CloudEventsEventType(e.Type()))
	if e.Subject() != "" {
		attrs = append(attrs, attribute.String("pitboss.player_hash", event.HashPlayer(e.Subject())))
	}
	return attrs
}

// end ends the span with what came of the event.
func (p *part) end(result string, err error) {
	if p.span == nil {
		return
	}
	p.span.SetAttributes(attribute.String("pitboss.result", result))
	if err != nil {
		p.span.SetAttributes(semconv.ErrorTypeKey.String(errorType(err)))
		p.span.RecordError(err)
		p.span.SetStatus(codes.Error, err.Error())
	}
	p.span.End()
}

// errorType names the kind of an error: the code of one against the contract,
// else the innermost error's type. Both are few.
func errorType(err error) string {
	var problem *event.Problem
	if errors.As(err, &problem) {
		return problem.Code
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "timeout"
	}
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return fmt.Sprintf("%T", err)
}

// known is a type as it may become a label or a span's name: anybody can
// invent types.
func known(typ string) string {
	if _, ok := event.Lookup(typ); !ok {
		return "unknown"
	}
	return typ
}

// rootKey is the context's key of the trace id that a trace's first span takes.
type rootKey struct{}

// ids makes ids of spans, unique and not secret, and lets traceOf choose those of traces.
type ids struct{}

func (ids) NewIDs(ctx context.Context) (t trace.TraceID, s trace.SpanID) {
	t, ok := ctx.Value(rootKey{}).(trace.TraceID)
	if !ok {
		binary.BigEndian.PutUint64(t[:8], rand.Uint64())
		binary.BigEndian.PutUint64(t[8:], rand.Uint64()|1)
	}
	return t, ids{}.NewSpanID(ctx, t)
}

func (ids) NewSpanID(context.Context, trace.TraceID) (s trace.SpanID) {
	binary.BigEndian.PutUint64(s[:], rand.Uint64()|1)
	return s
}
