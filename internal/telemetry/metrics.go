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
		Help: "Events a function handled, by what came of it: replied, done (no reply), sent (its own), refused (permanent, dead-lettered) or failed (retried).",
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
	resultSent    = "sent"
	resultRefused = "refused"
	resultFailed  = "failed"
)

// series are one function's, looked up once.
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

// Func is what a function does with one event.
type Func func(context.Context, *ce.Event) (*ce.Event, error)

// Handle runs next for the event: the one line at a function's edge. It counts
// and times it, makes it a span of the event's trace, tells log, and puts the
// reply into the same trace. next's error is returned as it is: map it with
// event.Result outside, or inside.
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

// Send is for a function that sends events of its own: it puts e into its trace
// (a new one, if e has none) before e is sent. end is called once it is, or
// could not be; it counts, times and tells log as Handle does.
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

// Accept puts an event that a Broker takes into its trace, and begins one for
// an event that came without. end is called once the Broker has it. The Broker
// counts for itself.
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

// Done counts and times an event that a function read by hand, and that has no
// span of its own; typ "" is one that could not be read.
func Done(fn, typ string, took time.Duration) { byHand(fn, typ, resultDone, took) }

// Refused is Done for an event that was refused.
func Refused(fn, typ string, took time.Duration) { byHand(fn, typ, resultRefused, took) }

// Failed is Done for what could not be worked on now, and is to be sent again.
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
	p.tell(log, e, result, took, err)
}

// carry has e carry the trace on.
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

// reply measures how late the reply is and puts it into the trace.
func (s *series) reply(reply *ce.Event, p *part, now time.Time) {
	p.carry(reply)
	if text := extension(reply, event.ExtReceived); text != "" {
		if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
			p.observe(s.received, now.Sub(at))
		}
	}
	if at := reply.Time(); !at.IsZero() {
		if lag := now.Sub(at); lag < maxEventLag { // a replayed file's events are years old
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

// observe adds the trace as an exemplar where this process keeps its span, so
// that a slow bucket leads to a trace that was slow.
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

// verdicts saves looking the label values up for each decision.
var verdicts = cache.New(1024, decisionKey.clone, func(k decisionKey) prometheus.Counter {
	return decisions.WithLabelValues(k.verdict, k.kind, k.jurisdiction)
})

func decided(verdict string, e *ce.Event) {
	verdicts.Get(decisionKey{verdict, extension(e, event.ExtKind), extension(e, event.ExtJurisdiction)}).Inc()
}
