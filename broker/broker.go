// Package broker is the one-machine Broker: a Knative Broker without a
// cluster. It reads the cluster's own manifests (broker/base/broker.yaml,
// triggers/*.yaml) and is composed of Knative's own packages: the attribute and
// subscription filters, the TTL rules and the kncloudevents dispatcher with the
// delivery spec's retries and backoff. Between ingress and delivery stands a
// log, an embedded NATS JetStream.
//
// Guarantees, beside those of a Knative Broker:
//
//   - An event is in the log before it is answered with 202, so that killing
//     the process loses nothing; with [Config.Fsync] nor does a power cut.
//   - An event leaves the log when every Trigger that matches it has delivered
//     it or has stored it as a dead letter. Delivery is at least once.
//   - A dead letter is kept, with the reason, until it is replayed or removed.
//
// See docs/broker.md for the differences from the multi-tenant Broker.
package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"
	noopmetric "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	nooptrace "go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/zap"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	"knative.dev/eventing/pkg/eventingtls"
	"knative.dev/eventing/pkg/kncloudevents"

	"pitboss/broker/manifest"
)

// Config says what to serve and where. Only DataDir, BrokerFile and
// TriggerDirs are required.
type Config struct {
	Addr        string   // host:port to listen on; "" = 127.0.0.1:0
	DataDir     string   // the log's folder; one process at a time
	BrokerFile  string   // broker/base/broker.yaml
	TriggerDirs []string // folders of one Trigger per *.yaml file

	// Resolve maps the name of a Knative Service that a Trigger or a
	// dead-letter sink refers to, e.g. pitboss-profile, to the base URL it has
	// on this machine. A subscriber that does not resolve is refused; a
	// dead-letter sink that does not resolve leaves its events in the Broker's
	// own store, where they are kept in any case.
	Resolve func(service string) (url string, ok bool)

	Fsync    bool  // fsync each event before it is acknowledged (power loss)
	MaxStore int64 // bytes the log may take; 0 = 8 GiB; when full, events are answered 503
	MaxBody  int64 // bytes of a POST's body; 0 = 1 MB; more is 413
	Parallel int   // first attempts at once per Trigger; 0 = 64
	Pending  int   // events per Trigger under way, retries included; 0 = 2048

	// Extra is served beside ingress and the admin API, by path.
	Extra map[string]http.Handler

	Logger         *zap.Logger          // nil = silent
	MeterProvider  metric.MeterProvider // nil = no metrics of Knative's dispatcher
	TracerProvider trace.TracerProvider // nil = no spans
}

const (
	defaultMaxStore = 8 << 30
	defaultMaxBody  = 1 << 20
	defaultParallel = 64
	defaultPending  = 2048
)

func (c *Config) setDefaults() {
	if c.Addr == "" {
		c.Addr = "127.0.0.1:0"
	}
	c.MaxStore = orDefault(c.MaxStore, defaultMaxStore)
	c.MaxBody = orDefault(c.MaxBody, defaultMaxBody)
	c.Parallel = orDefault(c.Parallel, defaultParallel)
	c.Pending = orDefault(c.Pending, defaultPending)
	if c.Resolve == nil {
		c.Resolve = func(string) (string, bool) { return "", false }
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	if c.MeterProvider == nil {
		c.MeterProvider = noopmetric.NewMeterProvider()
	}
	if c.TracerProvider == nil {
		c.TracerProvider = nooptrace.NewTracerProvider()
	}
}

func orDefault[T int | int64](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}

// Broker is an open Broker. It delivers from the moment [Open] returns and
// takes events once [Broker.Serve] runs.
type Broker struct {
	cfg        Config
	manifest   *eventingv1.Broker
	log        *eventLog
	dispatcher *kncloudevents.Dispatcher
	triggers   []*trigger
	listener   net.Listener
	server     *http.Server

	accepted, refused atomic.Int64
	ready             atomic.Bool
	health            health
	stop              context.CancelFunc // ends deliveries that are waiting for a retry
	beat              chan struct{}      // closed when the heartbeat has ended
	drainOnce         sync.Once

	DeadLetters *DeadLetters
}

// Open reads the manifests, opens the log, resumes every Trigger where it
// stopped and listens on cfg.Addr. A mistake in a manifest is a
// manifest.Problem with file and field.
func Open(cfg Config) (*Broker, error) {
	cfg.setDefaults()
	bm, err := manifest.Broker(cfg.BrokerFile)
	if err != nil {
		return nil, err
	}
	tms, err := manifest.Triggers(bm.Name, cfg.TriggerDirs...)
	if err != nil {
		return nil, err
	}
	kncloudevents.ConfigureConnectionArgs(&kncloudevents.ConnectionArgs{MaxIdleConns: 4096, MaxIdleConnsPerHost: 256})
	b := &Broker{cfg: cfg, manifest: bm, dispatcher: kncloudevents.NewDispatcher(eventingtls.ClientConfig{}, nil,
		kncloudevents.WithMeterProvider(cfg.MeterProvider), kncloudevents.WithTraceProvider(cfg.TracerProvider))}
	for _, tm := range tms {
		t, err := newTrigger(b, tm)
		if err != nil {
			return nil, err
		}
		b.triggers = append(b.triggers, t)
	}
	if b.listener, err = net.Listen("tcp", cfg.Addr); err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	if err := b.start(); err != nil {
		b.listener.Close()
		return nil, err
	}
	return b, nil
}

func (b *Broker) start() (err error) {
	if b.log, err = openLog(b.cfg); err != nil {
		return err
	}
	b.DeadLetters = &DeadLetters{b: b}
	ctx, cancel := context.WithCancel(context.Background())
	b.stop = cancel
	if err := b.startTriggers(ctx); err != nil {
		cancel()
		b.log.close()
		return err
	}
	b.server = &http.Server{
		Handler:           b.handler(),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
	b.beat = make(chan struct{})
	go b.heartbeat(ctx)
	b.ready.Store(true)
	return nil
}

func (b *Broker) startTriggers(ctx context.Context) error {
	if err := b.log.forgetTriggers(ctx, b.names()); err != nil {
		return err
	}
	if err := b.recall(ctx); err != nil {
		return err
	}
	for _, t := range b.triggers {
		if err := t.start(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (b *Broker) names() map[string]bool {
	names := make(map[string]bool, len(b.triggers))
	for _, t := range b.triggers {
		names[t.name] = true
	}
	return names
}

// URL is where events are POSTed: what a cluster calls the Broker's address.
func (b *Broker) URL() string { return "http://" + b.listener.Addr().String() }

// Serve takes events until [Broker.Drain] is called; it then returns nil.
func (b *Broker) Serve() error {
	if err := b.server.Serve(b.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("broker: %w", err)
	}
	return nil
}

// Ready reports whether events are taken and delivered.
func (b *Broker) Ready() bool { return b.ready.Load() }

// Quiet waits until nothing is left to deliver: every accepted event, and
// every reply to it, was delivered or is a dead letter.
func (b *Broker) Quiet(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		empty, err := b.log.empty(ctx)
		if err != nil || empty {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("broker: still delivering: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

// Drain takes no more events, lets attempts under way end (until ctx does) and
// closes the log. What was not delivered stays in the log and is delivered
// after the next [Open].
func (b *Broker) Drain(ctx context.Context) (err error) {
	b.drainOnce.Do(func() { err = b.drain(ctx) })
	return err
}

func (b *Broker) drain(ctx context.Context) error {
	b.ready.Store(false)
	err := b.server.Shutdown(ctx)
	for _, t := range b.triggers {
		t.pause()
	}
	for _, t := range b.triggers {
		t.drain(ctx)
	}
	b.stop() // wakes what sleeps between two attempts: back into the log
	for _, t := range b.triggers {
		t.wait()
	}
	<-b.beat
	b.log.close()
	if err != nil {
		return fmt.Errorf("broker: drain: %w", err)
	}
	return nil
}

// heartbeat keeps deliveries that take long from being handed out again.
func (b *Broker) heartbeat(ctx context.Context) {
	defer close(b.beat)
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			for _, t := range b.triggers {
				t.keepAlive(now)
			}
		}
	}
}

// path of the Broker as a cluster's ingress serves it: /namespace/name.
func (b *Broker) path() string {
	ns := b.manifest.Namespace
	if ns == "" {
		ns = "default"
	}
	return "/" + filepath.Join(ns, b.manifest.Name)
}
