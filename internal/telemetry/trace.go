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

// tracing is the current configuration of tracing.
type tracing struct {
	tracer func(fn string) trace.Tracer
	share  float64 // of new traces that are sampled
	on     bool    // spans are recorded
}

var current atomic.Pointer[tracing]

func init() { Use(noop.NewTracerProvider(), 0) }

// Use makes functions record spans with provider and sample a share of new traces. It is for
// tests and for processes that set up OpenTelemetry themselves.
func Use(provider trace.TracerProvider, share float64) {
	_, off := provider.(noop.TracerProvider)
	tracer := provider.Tracer(scope)
	current.Store(&tracing{func(string) trace.Tracer { return tracer }, share, !off})
}

const scope = "pitboss"

// Offsets in a traceparent: "00-" trace id "-" span id "-" flags.
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

// extension reads one attribute. e.Extensions would copy all of them.
func extension(e *ce.Event, name string) string {
	v1, ok := e.Context.(*ce.EventContextV1)
	if !ok {
		s, _ := e.Extensions()[name].(string)
		return s
	}
	s, _ := v1.Extensions[name].(string)
	return s
}

// traceOf returns the trace of an event. carried says whether the event has a traceparent.
// An event without one begins a trace, whose id is a hash of source and id, so that it is
// the same wherever and however often the event is delivered.
func traceOf(e *ce.Event, share float64) (sc trace.SpanContext, carried bool) {
	if sc, ok := parse(extension(e, event.ExtTraceparent)); ok {
		return sc, true
	}
	return begun(e.Source(), e.ID(), share), false
}

// begun returns the trace that begins with an event.
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

// Traceparent returns the traceparent that [Accept] would give an event, for a Broker that has
// the attributes only as strings. own is the event's traceparent ("": none), header that of
// the request. ok is false if spans are recorded: then the Broker must call Accept.
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

// Adopt gives an event without a trace the one of its HTTP request (the traceparent header),
// as instrumented platforms and Brokers send it.
func Adopt(e *ce.Event, header string) {
	if _, ok := parse(header); !ok {
		return
	}
	if _, carried := parse(extension(e, event.ExtTraceparent)); !carried {
		e.SetExtension(event.ExtTraceparent, header)
	}
}

// step is an operation on an event, named by OpenTelemetry's conventions for messaging.
// Accepting is done by a Broker; the conventions have no name for it.
type step struct {
	name string // of the operation; the first word of the span's name
	typ  attribute.KeyValue
	kind trace.SpanKind
}

var (
	sending    = step{"send", semconv.MessagingOperationTypeSend, trace.SpanKindProducer}
	accepting  = step{"accept", semconv.MessagingOperationTypeReceive, trace.SpanKindServer}
	processing = step{"process", semconv.MessagingOperationTypeProcess, trace.SpanKindConsumer}
)

// part is one step in an event's trace.
type part struct {
	sc      trace.SpanContext // of the step's span if there is one, else the event's
	carried bool              // the event had a traceparent
	span    trace.Span        // nil: not sampled
}

// begin starts the step's span if the event's trace is sampled.
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

// about returns a span's attributes of the event, with only a hash of the player. The type
// is the destination of the message, because a Trigger of Knative subscribes to types.
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

// end ends the span with the result.
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

// errorType returns a name for the kind of an error: the code of an error against the
// contract, else the type of the innermost error. There are few of either.
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

// known returns an event type for use in a label or a span's name. Unknown types become
// "unknown", because anybody can invent types.
func known(typ string) string {
	if _, ok := event.Lookup(typ); !ok {
		return "unknown"
	}
	return typ
}

// rootKey is the context key of the trace id for the first span of a trace.
type rootKey struct{}

// ids generates random span ids and takes the trace id from the context, where begin put it.
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
