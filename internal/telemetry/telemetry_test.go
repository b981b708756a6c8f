package telemetry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	otlp "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"pitboss/internal/event"
	"pitboss/internal/telemetry"
	"pitboss/test/cputime"
)

func newEvent(typ string) *ce.Event {
	e := ce.New()
	e.SetID("1")
	e.SetSource("/test")
	e.SetType(typ)
	e.SetSubject("alice")
	e.SetTime(time.Now())
	e.SetExtension(event.ExtReceived, time.Now().Add(-3*time.Millisecond).UTC().Format(time.RFC3339Nano))
	return &e
}

func answerWith(typ string) telemetry.Func {
	return func(_ context.Context, in *ce.Event) (*ce.Event, error) {
		return event.Reply(in, "f", typ, in.Time(), map[string]string{})
	}
}

// One trace from the POST to the recommendation, each hop the child of the one before.
func TestOneTraceThroughEveryHop(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	telemetry.Use(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)), 1)
	ctx := context.Background()

	e := newEvent(event.TypePaymentFailed)
	_, end := telemetry.Send(ctx, "ingest", zap.NewNop(), e)
	end(nil)
	hops := []struct{ fn, typ string }{{"profile", event.TypePlayerUpdated}, {"score", event.TypePlayerScored}, {"decide", event.TypeRecommendation}}
	for _, hop := range hops {
		reply, err := telemetry.Handle(ctx, hop.fn, zap.NewNop(), e, answerWith(hop.typ))
		if err != nil {
			t.Fatal(err)
		}
		e = reply
	}
	ended := spans.Ended()
	if len(ended) != 4 {
		t.Fatalf("spans: %d, want 4", len(ended))
	}
	for i, s := range ended {
		if s.SpanContext().TraceID() != ended[0].SpanContext().TraceID() {
			t.Errorf("span %d %q is in another trace", i, s.Name())
		}
		if i > 0 && s.Parent().SpanID() != ended[i-1].SpanContext().SpanID() {
			t.Errorf("span %d %q is no child of %q", i, s.Name(), ended[i-1].Name())
		}
		for _, a := range s.Attributes() {
			if strings.Contains(a.Value.String(), "alice") {
				t.Errorf("span %q names the player in %s", s.Name(), a.Key)
			}
		}
	}
	if got := e.Extensions()[event.ExtTraceparent]; !strings.Contains(fmt.Sprint(got), ended[3].SpanContext().SpanID().String()) {
		t.Errorf("the recommendation carries %v, want decide's span", got)
	}
}

func TestUnsampledTraceIsCarriedOn(t *testing.T) {
	const given = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
	e := newEvent(event.TypePaymentFailed)
	e.SetExtension(event.ExtTraceparent, given)
	reply, err := telemetry.Handle(context.Background(), "profile", zap.NewNop(), e, answerWith(event.TypePlayerUpdated))
	if err != nil || reply.Extensions()[event.ExtTraceparent] != given {
		t.Errorf("got %v, %v; want %s", reply.Extensions(), err, given)
	}
}

func TestMetricsByResult(t *testing.T) {
	outcomes := map[string]telemetry.Func{
		"replied": answerWith(event.TypeSuppressed),
		"done":    func(context.Context, *ce.Event) (*ce.Event, error) { return nil, nil },
		"refused": func(context.Context, *ce.Event) (*ce.Event, error) {
			return nil, event.Result(event.Permanent(errors.New("no")))
		},
		"failed": func(context.Context, *ce.Event) (*ce.Event, error) { return nil, event.Result(errors.New("later")) },
	}
	for _, next := range outcomes {
		_, _ = telemetry.Handle(context.Background(), "metered", zap.NewNop(), newEvent(event.TypePlayerScored), next)
	}
	unknown := newEvent("somebody.invented.this")
	_, _ = telemetry.Handle(context.Background(), "metered", zap.NewNop(), unknown, outcomes["done"])

	rec := httptest.NewRecorder()
	telemetry.MetricsHandler().ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	body, _ := io.ReadAll(rec.Body)
	for result := range outcomes {
		want := `pitboss_function_events_total{function="metered",result="` + result + `",type="pitboss.player.scored.v1"} 1`
		if !strings.Contains(string(body), want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	for _, want := range []string{
		`pitboss_function_events_total{function="metered",result="done",type="unknown"} 1`,
		`pitboss_since_received_seconds_count{function="metered"} 1`,
		`pitboss_decisions_total{jurisdiction="",kind="",verdict="suppressed"} 1`,
	} {
		if !strings.Contains(string(body), want) {
			t.Errorf("metrics lack %s", want)
		}
	}
}

// What one event costs at a function's edge, with its reply: by the trace that
// the event carries, and with and without somewhere to send spans (a collector
// over HTTP in this process, so its work is in the figure).
func BenchmarkHandle(b *testing.B) {
	answer := newEvent(event.TypeRecommendation) // built once: that is not the helper's
	reply := func(context.Context, *ce.Event) (*ce.Event, error) { return answer, nil }
	nothing := func(context.Context, *ce.Event) (*ce.Event, error) { return nil, nil }
	b.Run("no exporter", func(b *testing.B) { handleAll(b, nothing, reply) })
	b.Run("exporter", func(b *testing.B) {
		collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
		defer collector.Close()
		b.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
		stop, err := telemetry.Start(context.Background(), zap.NewNop())
		if err != nil {
			b.Fatal(err)
		}
		defer stop(context.Background())
		handleAll(b, nothing, reply)
	})
}

func handleAll(b *testing.B, nothing, reply telemetry.Func) {
	for _, c := range []struct{ name, traceparent string }{
		{"not sampled", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"},
		{"sampled", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
		{"no traceparent", ""},
	} {
		e := newEvent(event.TypeRoundSettled)
		if c.traceparent != "" {
			e.SetExtension(event.ExtTraceparent, c.traceparent)
		}
		for name, next := range map[string]telemetry.Func{"nothing": nothing, "reply": reply} {
			b.Run(c.name+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				before := cputime.Own(b)
				for b.Loop() {
					_, _ = telemetry.Handle(context.Background(), "bench", zap.NewNop(), e, next)
				}
				b.ReportMetric(float64(cputime.Own(b)-before)/float64(b.N), "cpu-ns/op")
			})
		}
	}
}

// The share of new traces that is kept is the share asked for, whatever the
// way through the process; and it is the same traces at every function.
func TestTheShareOfTracesKept(t *testing.T) {
	var mu sync.Mutex
	services := map[string]map[string]bool{} // service → traces
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var req otlp.ExportTraceServiceRequest
		if err := proto.Unmarshal(body, &req); err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, rs := range req.ResourceSpans {
			for _, a := range rs.Resource.Attributes {
				if a.Key != "service.name" {
					continue
				}
				of := services[a.Value.GetStringValue()]
				if of == nil {
					of = map[string]bool{}
					services[a.Value.GetStringValue()] = of
				}
				for _, s := range rs.ScopeSpans[0].Spans {
					of[string(s.TraceId)] = true
				}
			}
		}
	}))
	defer collector.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	t.Setenv("OTEL_TRACES_SAMPLER_ARG", "0.25")
	stop, err := telemetry.Start(context.Background(), zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	const n = 1600
	for i := range n {
		e := newEvent(event.TypePaymentFailed)
		e.SetID(fmt.Sprint(i))
		if i%2 == 0 { // POSTed to ingest; the others straight to the Broker, which knows no traces
			_, end := telemetry.Send(context.Background(), "ingest", zap.NewNop(), e)
			end(nil)
		}
		for _, fn := range []string{"profile", "score"} { // two who get the same event
			if _, err := telemetry.Handle(context.Background(), fn, zap.NewNop(), e, answerWith(event.TypePlayerUpdated)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{"pitboss-ingest": n / 8, "pitboss-profile": n / 4, "pitboss-score": n / 4} {
		if got := len(services[name]); got < want*8/10 || got > want*12/10 {
			t.Errorf("%s: %d of %d traces kept, want about %d", name, got, n, want)
		}
	}
	if !maps.Equal(services["pitboss-profile"], services["pitboss-score"]) {
		t.Error("profile and score kept different traces")
	}
}

func TestAProtocolThatIsNotSpokenIsRefused(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317")
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
	if _, err := telemetry.Start(context.Background(), zap.NewNop()); err == nil || !strings.Contains(err.Error(), "OTEL_EXPORTER_OTLP_PROTOCOL") {
		t.Errorf("got %v, want an error that names the setting", err)
	}
}
