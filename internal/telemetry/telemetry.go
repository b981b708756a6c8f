// Package telemetry counts and times events at the edge of every function, and carries one
// trace from the platform's POST to the recommendation.
//
// A function calls [Handle] for each event (setup.Edge does), and [Send] for each event that
// it sends itself. [Start] reads the environment once per process:
//
//	METRICS_ADDR                 serve /metrics there; empty: do not
//	OTEL_EXPORTER_OTLP_ENDPOINT  send traces there; empty: keep none
//	OTEL_TRACES_SAMPLER_ARG      share of traces kept, default 0.01
//
// The events carry the trace themselves (CloudEvents Distributed Tracing extension,
// attribute traceparent), so that it survives any Broker in between. A trace that is not
// sampled costs only the reading of that attribute; docs/observability.md has the figures.
//
// Sources: OpenTelemetry semantic conventions 1.41 for messaging and for
// CloudEvents, W3C Trace Context, the RED method (rate, errors, duration).
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/zap"
)

// process is the state that all functions of this process share.
var process struct {
	mu     sync.Mutex
	users  int
	server *http.Server
	spans  *exporting
}

// Start sets up the process and returns a function that undoes it. In local mode all
// functions share one process: only the first Start and the last stop have an effect.
// Failures to send spans are logged.
func Start(ctx context.Context, log *zap.Logger) (stop func(context.Context) error, err error) {
	process.mu.Lock()
	defer process.mu.Unlock()
	if process.users == 0 {
		if err := startMetrics(os.Getenv("METRICS_ADDR")); err != nil {
			return nil, err
		}
		if os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != "" {
			if err := startSpans(ctx, log); err != nil {
				return nil, errors.Join(err, stopMetrics(ctx))
			}
		}
	}
	process.users++
	var once sync.Once
	return func(ctx context.Context) (err error) {
		once.Do(func() { err = release(ctx) })
		return err
	}, nil
}

func startMetrics(addr string) error {
	if addr == "" {
		return nil
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("telemetry: METRICS_ADDR: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", MetricsHandler())
	process.server = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go process.server.Serve(ln) //nolint:errcheck // ends with Shutdown
	return nil
}

// MetricsHandler serves the process's metrics, with exemplars if the scraper supports
// OpenMetrics.
func MetricsHandler() http.Handler {
	return promhttp.HandlerFor(prometheus.DefaultGatherer, promhttp.HandlerOpts{EnableOpenMetrics: true})
}

func stopMetrics(ctx context.Context) error {
	if process.server == nil {
		return nil
	}
	defer func() { process.server = nil }()
	return process.server.Shutdown(ctx)
}

// exporting exports the spans of all functions of the process, each as a service of its own.
type exporting struct {
	processor sdktrace.SpanProcessor
	env       *resource.Resource // from OTEL_RESOURCE_ATTRIBUTES
	tracers   sync.Map           // function → trace.Tracer
}

func startSpans(ctx context.Context, log *zap.Logger) error {
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
		if v := os.Getenv(name); v != "" && v != "http/protobuf" {
			return fmt.Errorf("telemetry: %s is %q: want http/protobuf (port 4318 of a collector)", name, v)
		}
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return fmt.Errorf("telemetry: OTLP exporter: %w", err)
	}
	env, err := resource.New(ctx, resource.WithFromEnv(), resource.WithTelemetrySDK(), resource.WithHost())
	if err != nil {
		return fmt.Errorf("telemetry: OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("spans not sent", zap.Error(err)) }))
	process.spans = &exporting{processor: sdktrace.NewBatchSpanProcessor(exporter), env: env}
	current.Store(&tracing{process.spans.tracer, sampledShare(), true})
	return nil
}

// tracer returns fn's tracer. Its service is named after fn and has the Knative revision as
// its version, unless OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES say otherwise.
func (x *exporting) tracer(fn string) trace.Tracer {
	if t, ok := x.tracers.Load(fn); ok {
		return t.(trace.Tracer)
	}
	own := resource.NewWithAttributes(semconv.SchemaURL, semconv.ServiceName("pitboss-"+fn), semconv.ServiceNamespace("pitboss"))
	if revision := os.Getenv("K_REVISION"); revision != "" {
		own, _ = resource.Merge(own, resource.NewSchemaless(semconv.ServiceVersion(revision)))
	}
	if both, err := resource.Merge(own, x.env); err == nil { // fails if their schemas differ
		own = both
	}
	p := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(x.processor), sdktrace.WithSampler(sdktrace.AlwaysSample()),
		sdktrace.WithIDGenerator(ids{}), sdktrace.WithResource(own)) // begin has already sampled
	t, _ := x.tracers.LoadOrStore(fn, p.Tracer(scope))
	return t.(trace.Tracer)
}

const defaultShare = 0.01

func sampledShare() float64 {
	share, err := strconv.ParseFloat(os.Getenv("OTEL_TRACES_SAMPLER_ARG"), 64)
	if err != nil || share < 0 || share > 1 {
		return defaultShare
	}
	return share
}

// lastWord is how long an unresponsive collector may delay the shutdown.
const lastWord = 3 * time.Second

func release(ctx context.Context) (err error) {
	process.mu.Lock()
	defer process.mu.Unlock()
	if process.users--; process.users > 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, lastWord)
	defer cancel()
	err = stopMetrics(ctx)
	if process.spans != nil {
		Use(noop.NewTracerProvider(), 0)
		err = errors.Join(err, process.spans.processor.Shutdown(ctx)) // sends what is left
		process.spans = nil
	}
	return err
}
