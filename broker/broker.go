// Package broker is the one-machine Broker: a Knative Broker without a cluster. It
// reads the cluster's manifests (broker/base/broker.yaml, triggers/*.yaml) and
// follows Knative's rules for filters, TTL, retries and dead letters; tests compare
// it with Knative's own packages. A log, which is an embedded NATS JetStream, is
// between ingress and delivery. The Broker calls functions of the same process
// directly and others over HTTP.
//
// Guarantees beyond those of a Knative Broker:
//
//   - An event is in the log before the Broker answers 202, so a killed process
//     loses no event. With [Config.Fsync] a power cut does not lose one either.
//   - An event leaves the log when every Trigger that matches it has delivered it
//     or stored it as a dead letter. Delivery is at least once.
//   - A dead letter is stored with its reason until it is replayed or removed.
//
// See docs/broker.md for the differences from the multi-tenant Broker.
package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"pitboss/broker/spec"
)

// Config configures a Broker. Only DataDir, BrokerFile and TriggerDirs are required.
type Config struct {
	Addr        string   // host:port to listen on; "" = 127.0.0.1:0
	DataDir     string   // the log's folder; one process at a time
	BrokerFile  string   // broker/base/broker.yaml
	TriggerDirs []string // folders whose *.yaml files hold one Trigger each

	// Resolve maps the name of a Knative Service in a Trigger or dead-letter sink,
	// e.g. pitboss-profile, to its base URL on this machine. Open refuses a
	// subscriber that does not resolve. If a dead-letter sink does not resolve, its
	// events are only in the Broker's own store, which holds them in any case.
	Resolve func(service string) (url string, ok bool)

	// Function returns the function of a Service that runs in this process, which
	// the Broker calls directly. Every other Service goes through Resolve. nil: no
	// function runs in this process.
	Function func(service string) (Function, bool)

	Fsync    bool  // fsync each event before it is acknowledged (power loss)
	MaxStore int64 // limit of the log in bytes; 0 = 8 GiB; a full log answers 503
	MaxBody  int64 // limit of a POST's body in bytes; 0 = 1 MiB; a larger one is answered 413
	Parallel int   // concurrent first attempts per Trigger; 0 = 64
	Pending  int   // events per Trigger in memory, including retries; 0 = 65536; further ones stay in the log

	// Extra is served beside ingress and the admin API, by path.
	Extra map[string]http.Handler

	Logger *zap.Logger // nil = silent
}

const (
	defaultMaxStore = 8 << 30
	defaultMaxBody  = 1 << 20
	defaultParallel = 64
	defaultPending  = 1 << 16
)

func (c *Config) setDefaults() {
	c.Addr = cmp.Or(c.Addr, "127.0.0.1:0")
	c.MaxStore = cmp.Or(c.MaxStore, defaultMaxStore)
	c.MaxBody = cmp.Or(c.MaxBody, defaultMaxBody)
	c.Parallel = cmp.Or(c.Parallel, defaultParallel)
	c.Pending = cmp.Or(c.Pending, defaultPending)
	if c.Resolve == nil {
		c.Resolve = func(string) (string, bool) { return "", false }
	}
	if c.Function == nil {
		c.Function = func(string) (Function, bool) { return nil, false }
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
}

// Broker is an open Broker. It delivers from the moment [Open] returns, and accepts
// events while [Broker.Serve] runs.
type Broker struct {
	cfg       Config
	manifest  *spec.Broker
	log       *eventLog
	http      *http.Client // for HTTP subscribers
	triggers  []*trigger
	idle      chan *trigger         // hands work to an idle worker, see dispatch
	byType    map[string][]*trigger // Triggers that match only one type
	ofAnyType []*trigger
	path      string // the path in a cluster's ingress: /namespace/name
	listener  net.Listener
	server    *http.Server

	accepted, refused atomic.Int64
	ready             atomic.Bool
	health            atomic.Pointer[func(context.Context) error] // see SetHealth
	stop              context.CancelFunc                          // cancels running attempts and waits for retries
	drainOnce         sync.Once

	DeadLetters *DeadLetters
}

// Open reads the manifests, opens the log, resumes every Trigger where it stopped
// and listens on cfg.Addr. It returns a mistake in a manifest as a spec.Problem with
// file and field.
func Open(cfg Config) (*Broker, error) {
	cfg.setDefaults()
	bm, err := spec.ReadBroker(cfg.BrokerFile)
	if err != nil {
		return nil, err
	}
	tms, err := spec.ReadTriggers(bm.Metadata.Name, cfg.TriggerDirs...)
	if err != nil {
		return nil, err
	}
	b := &Broker{cfg: cfg, manifest: bm, path: pathOf(bm), byType: map[string][]*trigger{}, idle: make(chan *trigger), http: newHTTP()}
	for _, tm := range tms {
		t, err := newTrigger(b, tm)
		if err != nil {
			return nil, err
		}
		b.triggers = append(b.triggers, t)
		if t.typ == "" {
			b.ofAnyType = append(b.ofAnyType, t)
		} else {
			b.byType[t.typ] = append(b.byType[t.typ], t)
		}
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
	if err := b.resume(ctx); err != nil {
		cancel()
		b.log.shutdown()
		return err
	}
	b.server = &http.Server{
		Handler:           b.handler(),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
	b.ready.Store(true)
	return nil
}

// resume starts the Triggers with the events that the last process left: first those
// of LOG, which it had in memory, then those in HELD.
func (b *Broker) resume(ctx context.Context) error {
	held, err := b.log.heldSeqs(ctx)
	if err != nil {
		return err
	}
	for name, seqs := range held {
		if b.trigger(name) == nil {
			b.cfg.Logger.Warn("events held for a Trigger that is gone are dropped", zap.String("trigger", name), zap.Int("events", len(seqs)))
			if err := b.log.forget(ctx, seqs); err != nil {
				return err
			}
		}
	}
	for _, t := range b.triggers {
		t.ctx = ctx
	}
	err = b.log.resume(ctx, func(record []byte, r *origin) {
		m, err := readRecord(record)
		if err != nil {
			b.cfg.Logger.Error("record dropped", zap.Error(err))
			b.log.end(r)
			return
		}
		b.dispatch(b.offer(m, r))
	})
	if err != nil {
		return err
	}
	for _, t := range b.triggers {
		t.catchUp(held[t.name])
	}
	go b.log.purge()
	go b.log.mend(b.cfg)
	return nil
}

// trigger returns the Trigger of that name, or nil.
func (b *Broker) trigger(name string) *trigger {
	for _, t := range b.triggers {
		if t.name == name {
			return t
		}
	}
	return nil
}

// URL returns the Broker's address, to which events are POSTed.
func (b *Broker) URL() string { return "http://" + b.listener.Addr().String() }

// Serve accepts events until [Broker.Drain] is called, and then returns nil.
func (b *Broker) Serve() error {
	if err := b.server.Serve(b.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("broker: %w", err)
	}
	return nil
}

// Ready reports whether the Broker accepts and delivers events.
func (b *Broker) Ready() bool { return b.ready.Load() }

// Quiet waits until every accepted event and every reply is delivered, or is a dead
// letter that has been sent to its sink.
func (b *Broker) Quiet(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for b.waiting() > 0 {
		select {
		case <-ctx.Done():
			return fmt.Errorf("broker: still delivering: %w", ctx.Err())
		case <-tick.C:
		}
	}
	return nil
}

// waiting returns how many events are in the log because their deliveries, or those
// of replies to them, are not finished. An event that moves from LOG to HELD counts
// twice for a moment, so that the sum is never too low.
func (b *Broker) waiting() int64 {
	n := b.log.waiting()
	for _, t := range b.triggers {
		now := t.stats()
		n += now.kept + now.storing + int(t.sinking.Load())
	}
	return int64(n)
}

// Backlog returns the number of dead letters and the number of events with unfinished
// deliveries.
func (b *Broker) Backlog() (deadLetters, waiting int64) {
	return int64(b.DeadLetters.Count()), b.waiting()
}

// Trouble returns an error that wraps [ErrFull] while the Broker accepts no events.
func (b *Broker) Trouble() error { return b.log.trouble() }

// Lost returns the ranges of acknowledged messages that the log had lost when it was
// opened, including earlier losses.
func (b *Broker) Lost() []Lost { return b.log.lost }

// Drain stops accepting events, waits for running attempts until ctx ends, and closes
// the log. Undelivered events stay in the log and are delivered after the next [Open].
func (b *Broker) Drain(ctx context.Context) (err error) {
	b.drainOnce.Do(func() { err = b.drain(ctx) })
	return err
}

func (b *Broker) drain(ctx context.Context) error {
	b.ready.Store(false)
	shutdown := make(chan error, 1)
	go func() { shutdown <- b.server.Shutdown(ctx) }()
	for _, t := range b.triggers {
		t.pause()
	}
	for _, t := range b.triggers {
		t.drain(ctx)
	}
	err := <-shutdown
	if err != nil {
		b.server.Close() // a request whose body is incomplete gets no answer, so its sender retries
	}
	b.stop() // cancels attempts that outlast ctx; their events stay in the log
	for _, t := range b.triggers {
		t.close(ctx)
	}
	b.log.close()
	if err != nil {
		return fmt.Errorf("broker: drain: %w", err)
	}
	return nil
}

func pathOf(m *spec.Broker) string {
	return "/" + cmp.Or(m.Metadata.Namespace, "default") + "/" + m.Metadata.Name
}
