// Package broker is the one-machine Broker: a Knative Broker without a
// cluster. It reads the cluster's own manifests (broker/base/broker.yaml,
// triggers/*.yaml) and keeps Knative's rules for filters, TTL, retries and
// dead letters; tests hold them against Knative's own packages. Between ingress
// and delivery stands a log, an embedded NATS JetStream. Functions of the same
// process are called directly, others over HTTP.
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

	// Function is the function of a Service that runs in this process; it is
	// called directly. Resolve is asked about every other. nil: there is none.
	Function func(service string) (Function, bool)

	Fsync    bool  // fsync each event before it is acknowledged (power loss)
	MaxStore int64 // bytes the log may take; 0 = 8 GiB; when full, events are answered 503
	MaxBody  int64 // bytes of a POST's body; 0 = 1 MB; more is 413
	Parallel int   // first attempts at once per Trigger; 0 = 64
	Pending  int   // events per Trigger in memory, retries included; 0 = 65536; more are kept in the log

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

// Broker is an open Broker. It delivers from the moment [Open] returns and
// takes events once [Broker.Serve] runs.
type Broker struct {
	cfg       Config
	manifest  *spec.Broker
	log       *eventLog
	http      *http.Client // for subscribers that are reached over HTTP
	triggers  []*trigger
	idle      chan *trigger         // to workers that wait, see dispatch
	byType    map[string][]*trigger // those that can match one type only
	ofAnyType []*trigger
	path      string // as a cluster's ingress serves it: /namespace/name
	listener  net.Listener
	server    *http.Server

	accepted, refused atomic.Int64
	ready             atomic.Bool
	health            atomic.Pointer[func(context.Context) error] // see SetHealth
	stop              context.CancelFunc                          // ends deliveries that are waiting for a retry
	drainOnce         sync.Once

	DeadLetters *DeadLetters
}

// Open reads the manifests, opens the log, resumes every Trigger where it
// stopped and listens on cfg.Addr. A mistake in a manifest is a
// spec.Problem with file and field.
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

// resume starts the Triggers with what the last process left: the log, which
// was in memory, and then what is held for each.
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

// trigger is the one of that name; nil if there is none.
func (b *Broker) trigger(name string) *trigger {
	for _, t := range b.triggers {
		if t.name == name {
			return t
		}
	}
	return nil
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
// every reply to it, was delivered or is a dead letter that was sent to its sink.
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

// waiting is how many events are kept because they, or replies to them, are
// not delivered everywhere. An event that moves from the log to a Trigger's own
// is counted twice for a moment rather than not at all.
func (b *Broker) waiting() int64 {
	n := b.log.waiting()
	for _, t := range b.triggers {
		now := t.stats()
		n += now.kept + now.storing + int(t.sinking.Load())
	}
	return int64(n)
}

// Backlog is how many dead letters are kept, and how many events are not
// delivered everywhere yet.
func (b *Broker) Backlog() (deadLetters, waiting int64) {
	return int64(b.DeadLetters.Count()), b.waiting()
}

// Trouble is why no events are taken now, wrapping [ErrFull]; nil: they are.
func (b *Broker) Trouble() error { return b.log.trouble() }

// Lost is what the log had lost when it was opened, and before: ranges of
// acknowledged messages. Empty where nothing was ever damaged.
func (b *Broker) Lost() []Lost { return b.log.lost }

// Drain takes no more events, lets attempts under way end (until ctx does) and
// closes the log. What was not delivered stays in the log and is delivered
// after the next [Open].
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
		b.server.Close() // an event whose body is still coming has no answer: its sender sends it again
	}
	b.stop() // ends attempts that take longer than ctx: their events are kept
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
