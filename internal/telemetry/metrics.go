package telemetry

import (
	"context"
	"sync"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"go.opentelemetry.io/otel/trace"

	"pitboss/internal/event"
)

var (
	handled = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "pitboss_function_events_total",
		Help: "Events a function handled, by what came of it: replied, done (no reply), refused (permanent, dead-lettered) or failed (retried).",
	}, []string{"function", "type", "result"})
	seconds = promauto.NewHistogramVec(prometheus.HistogramOpts{
		Name: "pitboss_function_seconds", Help: "Time a function took for one event, seconds.",
		Buckets: []float64{1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, .1, .25, 1, 5},
	}, []string{"function"})
	sinceReceived = promauto.NewHistogramVec(prometheus.HistogramOpts{
		Name: "pitboss_since_received_seconds", Help: "From the platform's POST (receivedtime) to this function's reply, seconds.",
		Buckets: latencyBuckets,
	}, []string{"function"})
	sinceEvent = promauto.NewHistogramVec(prometheus.HistogramOpts{
		Name: "pitboss_since_event_seconds", Help: "From when it happened (event time of the reply) to this function's reply, seconds.",
		Buckets: latencyBuckets,
	}, []string{"function"})
	decisions = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "pitboss_decisions_total", Help: "Decisions by verdict, kind of action and jurisdiction.",
	}, []string{"verdict", "kind", "jurisdiction"})
	inFlight = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "pitboss_function_in_flight", Help: "Events a function is working on.",
	}, []string{"function"})
)

var latencyBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 60, 300}

// Results of an event.
const (
	resultReplied = "replied"
	resultDone    = "done"
	resultRefused = "refused"
	resultFailed  = "failed"
)

// series are one function's, looked up once.
type series struct {
	seconds, received, event prometheus.Observer
	inFlight                 prometheus.Gauge
	counters                 sync.Map // type and result → prometheus.Counter
}

type counterKey struct{ typ, result string }

var byFunction sync.Map // name → *series

func seriesOf(fn string) *series {
	if s, ok := byFunction.Load(fn); ok {
		return s.(*series)
	}
	s, _ := byFunction.LoadOrStore(fn, &series{
		seconds: seconds.WithLabelValues(fn), received: sinceReceived.WithLabelValues(fn), event: sinceEvent.WithLabelValues(fn),
		inFlight: inFlight.WithLabelValues(fn),
	})
	return s.(*series)
}

func (s *series) count(fn, typ, result string) {
	if _, known := event.Lookup(typ); !known {
		typ = "unknown" // anybody can invent types: they must not become series
	}
	key := counterKey{typ, result}
	c, ok := s.counters.Load(key)
	if !ok {
		c, _ = s.counters.LoadOrStore(key, handled.WithLabelValues(fn, typ, result))
	}
	c.(prometheus.Counter).Inc()
}

// Func is what a function does with one event.
type Func func(context.Context, *ce.Event) (*ce.Event, error)

// Handle runs next for the event: the one line at a function's edge. It counts
// and times it, makes it a span of the event's trace, and puts the reply into
// the same trace. next's error is returned as it is: map it with event.Result
// outside, or inside.
func Handle(ctx context.Context, fn string, e *ce.Event, next Func) (*ce.Event, error) {
	s, began := seriesOf(fn), time.Now()
	s.inFlight.Inc()
	ctx, span, sc := begin(ctx, fn, e)
	reply, err := next(ctx, e)
	s.inFlight.Dec()
	now := time.Now()
	s.seconds.Observe(now.Sub(began).Seconds())
	s.count(fn, e.Type(), resultOf(reply, err))
	if span != nil {
		if own := span.SpanContext(); own.IsValid() {
			sc = own
		}
		finish(span, err)
	}
	if reply != nil && err == nil {
		s.reply(reply, sc, now)
	}
	return reply, err
}

func resultOf(reply *ce.Event, err error) string {
	switch {
	case err == nil && reply != nil:
		return resultReplied
	case err == nil:
		return resultDone
	case isRefusal(err):
		return resultRefused
	}
	return resultFailed
}

// reply measures how late the reply is and puts it into the trace.
func (s *series) reply(reply *ce.Event, sc trace.SpanContext, now time.Time) {
	if sc.IsSampled() {
		reply.SetExtension(event.ExtTraceparent, format(sc))
	}
	if text := extension(reply, event.ExtReceived); text != "" {
		if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
			observe(s.received, now.Sub(at), sc)
		}
	}
	if at := reply.Time(); !at.IsZero() {
		if lag := now.Sub(at); lag < maxEventLag { // a replayed file's events are years old
			observe(s.event, lag, sc)
		}
	}
	switch reply.Type() {
	case event.TypeRecommendation:
		decided("issued", reply)
	case event.TypeSuppressed:
		decided("suppressed", reply)
	case event.TypeRevoked:
		decided("revoked", reply)
	}
}

const maxEventLag = time.Hour

// observe adds the sampled trace as an exemplar, so that a slow bucket leads
// to a trace that was slow.
func observe(o prometheus.Observer, d time.Duration, sc trace.SpanContext) {
	v := max(0, d.Seconds())
	if x, ok := o.(prometheus.ExemplarObserver); ok && sc.IsSampled() {
		x.ObserveWithExemplar(v, prometheus.Labels{"trace_id": sc.TraceID().String()})
		return
	}
	o.Observe(v)
}

func decided(verdict string, e *ce.Event) {
	decisions.WithLabelValues(verdict, extension(e, event.ExtKind), extension(e, event.ExtJurisdiction)).Inc()
}
