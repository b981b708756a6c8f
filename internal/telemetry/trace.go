package telemetry

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"math"
	"math/rand/v2"
	"sync/atomic"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/zap"

	"pitboss/internal/event"
)

// tracing is how spans are made now.
type tracing struct {
	tracer trace.Tracer
	share  float64 // of new traces that are kept
	on     bool    // there is somewhere to send spans
}

var current atomic.Pointer[tracing]

func init() { setTracer(noop.NewTracerProvider(), 0) }

func setTracer(p trace.TracerProvider, share float64) {
	_, off := p.(noop.TracerProvider)
	current.Store(&tracing{p.Tracer("pitboss"), share, !off})
}

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

func traceparentOf(e *ce.Event) string { return extension(e, event.ExtTraceparent) }

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

// Root begins the trace of an event that is about to be sent for the first
// time: its traceparent is set, if it has none. end is called once it is sent.
func Root(ctx context.Context, fn string, e *ce.Event) (context.Context, func(error)) {
	t := current.Load()
	sc, has := parse(traceparentOf(e))
	if !has {
		sc = fresh(t.share)
	}
	if !sc.IsSampled() || !t.on {
		if !has {
			e.SetExtension(event.ExtTraceparent, format(sc))
		}
		return ctx, func(error) {}
	}
	if has {
		ctx = trace.ContextWithRemoteSpanContext(ctx, sc)
	}
	ctx, span := t.tracer.Start(ctx, fn+" send "+e.Type(), trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(about(e)...))
	if own := span.SpanContext(); own.IsValid() {
		sc = own
	}
	e.SetExtension(event.ExtTraceparent, format(sc))
	return ctx, func(err error) { finish(span, err) }
}

// fresh is the context of a new trace, kept with probability share. The ids
// need to be unique, not secret.
func fresh(share float64) trace.SpanContext {
	var c trace.SpanContextConfig
	binary.BigEndian.PutUint64(c.TraceID[:8], rand.Uint64())
	low := rand.Uint64()
	binary.BigEndian.PutUint64(c.TraceID[8:], low)
	binary.BigEndian.PutUint64(c.SpanID[:], rand.Uint64()|1)
	// The same test as OpenTelemetry's TraceIDRatioBased, so that both agree.
	if low>>1 < uint64(share*math.MaxInt64) {
		c.TraceFlags = trace.FlagsSampled
	}
	return trace.NewSpanContext(c)
}

// begin starts the function's span, when the event's trace is kept.
func begin(ctx context.Context, fn string, e *ce.Event) (context.Context, trace.Span, trace.SpanContext) {
	t := current.Load()
	sc, ok := parse(traceparentOf(e))
	if !ok || !sc.IsSampled() || !t.on {
		return ctx, nil, sc
	}
	ctx, span := t.tracer.Start(trace.ContextWithRemoteSpanContext(ctx, sc), fn+" "+e.Type(),
		trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(about(e)...))
	return ctx, span, sc
}

// about is what a span says of the event; of the player only a hash.
func about(e *ce.Event) []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.String("cloudevents.event_id", e.ID()), attribute.String("cloudevents.event_source", e.Source()),
		attribute.String("cloudevents.event_type", e.Type()), attribute.String("pitboss.player_hash", event.HashPlayer(e.Subject())),
	}
}

func finish(span trace.Span, err error) {
	if err != nil {
		span.RecordError(err)
		span.SetStatus(codes.Error, err.Error())
	}
	span.End()
}

// Fields are what a log line about the event carries: its trace and the hash
// of its player.
func Fields(e *ce.Event) []zap.Field {
	fields := []zap.Field{zap.String("type", e.Type()), zap.String("id", e.ID()), zap.String("player", event.HashPlayer(e.Subject()))}
	if sc, ok := parse(traceparentOf(e)); ok {
		fields = append(fields, zap.String("trace_id", sc.TraceID().String()))
	}
	return fields
}
