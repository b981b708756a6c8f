// Package telemetry is what every function does at its edge: count the event,
// time it, and carry one trace from the platform's POST to the recommendation.
//
// A function calls [Handle] once; a function that sends events of its own
// calls [Root] for each. [Start] reads the environment, once per process:
//
//	METRICS_ADDR                 serve /metrics there; empty: do not
//	OTEL_EXPORTER_OTLP_ENDPOINT  send traces there; empty: keep none
//	OTEL_TRACES_SAMPLER_ARG      share of traces kept, default 0.01
//
// The trace is carried by the events themselves (CloudEvents Distributed
// Tracing extension, attribute traceparent), so it survives whatever Broker
// lies between. Metrics cost about 0.5 µs an event, a trace that is not sampled
// nothing more than reading that attribute.
//
// Sources: OpenTelemetry semantic conventions for CloudEvents 1.30, W3C Trace
// Context, the RED method (rate, errors, duration).
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
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// process is what this process's functions share.
var process struct {
	mu     sync.Mutex
	users  int
	server *http.Server
	spans  *sdktrace.TracerProvider
}

// Start sets the process up and returns what undoes it. In local mode all
// functions share one process: the first Start counts, the last stop undoes.
func Start(ctx context.Context, fn string) (stop func(context.Context) error, err error) {
	process.mu.Lock()
	defer process.mu.Unlock()
	if process.users == 0 {
		if err := startMetrics(os.Getenv("METRICS_ADDR")); err != nil {
			return nil, err
		}
		if os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != "" {
			if err := startSpans(ctx, fn); err != nil {
				return nil, err
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

// MetricsHandler serves the process's metrics, with exemplars to a scraper
// that speaks OpenMetrics.
func MetricsHandler() http.Handler {
	return promhttp.HandlerFor(prometheus.DefaultGatherer, promhttp.HandlerOpts{EnableOpenMetrics: true})
}

func startSpans(ctx context.Context, fn string) error {
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return fmt.Errorf("telemetry: OTLP exporter: %w", err)
	}
	service := os.Getenv("OTEL_SERVICE_NAME")
	if service == "" {
		service = "pitboss-" + fn
	}
	process.spans = sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter), sdktrace.WithSampler(sampler()),
		sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", service))),
	)
	setTracer(process.spans, sampledShare())
	return nil
}

// sampler keeps a trace if its parent is kept, and of new ones a share.
func sampler() sdktrace.Sampler {
	return sdktrace.ParentBased(sdktrace.TraceIDRatioBased(sampledShare()))
}

const defaultShare = 0.01

func sampledShare() float64 {
	share, err := strconv.ParseFloat(os.Getenv("OTEL_TRACES_SAMPLER_ARG"), 64)
	if err != nil || share < 0 || share > 1 {
		return defaultShare
	}
	return share
}

func release(ctx context.Context) (err error) {
	process.mu.Lock()
	defer process.mu.Unlock()
	if process.users--; process.users > 0 {
		return nil
	}
	if process.server != nil {
		err = process.server.Shutdown(ctx)
		process.server = nil
	}
	if process.spans != nil {
		err = errors.Join(err, process.spans.Shutdown(ctx)) // sends what is left
		process.spans = nil
		setTracer(noop.NewTracerProvider(), 0)
	}
	return err
}

// Use makes functions record spans with provider and keep share of new traces:
// for tests, and for processes that set OpenTelemetry up themselves.
func Use(provider trace.TracerProvider, share float64) { setTracer(provider, share) }
