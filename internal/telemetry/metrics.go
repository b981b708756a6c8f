package telemetry

import (
	"context"
	"strings"
	"sync"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"go.uber.org/zap"

	"pitboss/internal/cache"
	"pitboss/internal/event"
)

var (
	handled = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "pitboss_function_events_total",
		Help: "Events a function handled, by result: replied, done (no reply), sent (its own), refused (permanent, dead-lettered) or failed (retried).",
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
		Name: "pitboss_since_event_seconds", Help: "From the event time of the reply to this function's reply, seconds.",
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

// The results of handling an event.
const (
	resultReplied = "replied"
	resultDone    = "done"
	resultSent    = "sent"
	resultRefused = "refused"
	resultFailed  = "failed"
)

// series holds a function's series, so that they are looked up once.
type series struct {
	seconds, received, event prometheus.Observer
	inFlight                 prometheus.Gauge
	handled                  *cache.Of[counterKey, prometheus.Counter]
}

type counterKey struct{ typ, result string }

func (k counterKey) clone() counterKey { return counterKey{strings.Clone(k.typ), k.result} }

var byFunction sync.Map // name → *series

func seriesOf(fn string) *series {
	if s, ok := byFunction.Load(fn); ok {
		return s.(*series)
	}
	s, _ := byFunction.LoadOrStore(fn, &series{
		seconds: seconds.WithLabelValues(fn), received: sinceReceived.WithLabelValues(fn), event: sinceEvent.WithLabelValues(fn),
		inFlight: inFlight.WithLabelValues(fn),
		handled:  cache.New(1024, counterKey.clone, func(k counterKey) prometheus.Counter { return handled.WithLabelValues(fn, k.typ, k.result) }),
	})
	return s.(*series)
}

func (s *series) count(typ, result string) { s.handled.Get(counterKey{known(typ), result}).Inc() }

// Func handles one event.
type Func func(context.Context, *ce.Event) (*ce.Event, error)

// Handle runs next for the event at a function's edge. It counts and times it, records a
// span of the event's trace, logs it, and puts the reply into the same trace. It returns
// next's error as it is; the caller maps it with event.Result.
func Handle(ctx context.Context, fn string, log *zap.Logger, e *ce.Event, next Func) (*ce.Event, error) {
	s, began := seriesOf(fn), time.Now()
	s.inFlight.Inc()
	defer s.inFlight.Dec()
	ctx, p := begin(ctx, fn, processing, e)
	reply, err := next(ctx, e)
	now, result := time.Now(), resultOf(reply, err)
	s.done(e, &p, log, result, now.Sub(began), err)
	if reply != nil && err == nil {
		s.reply(reply, &p, now)
	}
	return reply, err
}

// Send is for functions that send events of their own. It puts e into its trace, or a new
// one, before e is sent. The caller must call end when e was sent or could not be; end
// counts, times and logs like Handle.
func Send(ctx context.Context, fn string, log *zap.Logger, e *ce.Event) (_ context.Context, end func(error)) {
	s, began := seriesOf(fn), time.Now()
	s.inFlight.Inc()
	ctx, p := begin(ctx, fn, sending, e)
	p.carry(e)
	return ctx, func(err error) {
		s.inFlight.Dec()
		result := resultSent
		if err != nil {
			result = resultOf(nil, err)
		}
		s.done(e, &p, log, result, time.Since(began), err)
	}
}

// Accept puts an event that a Broker accepts into its trace, or a new one. The caller must
// call end when the Broker has stored the event. The Broker has counters of its own.
func Accept(ctx context.Context, fn string, e *ce.Event) (end func(error)) {
	_, p := begin(ctx, fn, accepting, e)
	p.carry(e)
	if p.span == nil {
		return func(error) {}
	}
	return func(err error) {
		result := resultDone
		if err != nil {
			result = resultOf(nil, err)
		}
		p.end(result, err)
	}
}

// Done counts and times an event that a function handled without [Handle], hence without a
// span. typ is "" if it could not be read.
func Done(fn, typ string, took time.Duration) { byHand(fn, typ, resultDone, took) }

// Refused is like Done for an event that was refused.
func Refused(fn, typ string, took time.Duration) { byHand(fn, typ, resultRefused, took) }

// Failed is like Done for an event that could not be handled and is to be sent again.
func Failed(fn, typ string, took time.Duration) { byHand(fn, typ, resultFailed, took) }

func byHand(fn, typ, result string, took time.Duration) {
	s := seriesOf(fn)
	s.seconds.Observe(took.Seconds())
	s.count(typ, result)
}

func (s *series) done(e *ce.Event, p *part, log *zap.Logger, result string, took time.Duration, err error) {
	p.observe(s.seconds, took)
	s.count(e.Type(), result)
	p.end(result, err)
	p.log(log, e, result, took, err)
}

// carry puts e into the trace.
func (p *part) carry(e *ce.Event) {
	if p.span != nil || !p.carried {
		e.SetExtension(event.ExtTraceparent, format(p.sc))
	}
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

// reply puts the reply into the trace and measures its latency.
func (s *series) reply(reply *ce.Event, p *part, now time.Time) {
	p.carry(reply)
	if text := extension(reply, event.ExtReceived); text != "" {
		if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
			p.observe(s.received, now.Sub(at))
		}
	}
	if at := reply.Time(); !at.IsZero() {
		if lag := now.Sub(at); lag < maxEventLag { // the events of a replayed file are years old
			p.observe(s.event, lag)
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

// observe records a duration. If the span is sampled, it adds the trace as an exemplar, so
// that a slow bucket leads to a slow trace.
func (p *part) observe(o prometheus.Observer, d time.Duration) {
	v := max(0, d.Seconds())
	if x, ok := o.(prometheus.ExemplarObserver); ok && p.span != nil {
		x.ObserveWithExemplar(v, prometheus.Labels{"trace_id": p.sc.TraceID().String()})
		return
	}
	o.Observe(v)
}

type decisionKey struct{ verdict, kind, jurisdiction string }

func (k decisionKey) clone() decisionKey {
	return decisionKey{k.verdict, strings.Clone(k.kind), strings.Clone(k.jurisdiction)}
}

// verdicts caches the counters by their label values.
var verdicts = cache.New(1024, decisionKey.clone, func(k decisionKey) prometheus.Counter {
	return decisions.WithLabelValues(k.verdict, k.kind, k.jurisdiction)
})

func decided(verdict string, e *ce.Event) {
	verdicts.Get(decisionKey{verdict, extension(e, event.ExtKind), extension(e, event.ExtJurisdiction)}).Inc()
}
