package setup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"pitboss/internal/event"
	"pitboss/internal/repeat"
	"pitboss/internal/telemetry"
)

// Edge is the part that all functions have in common: start and stop, readiness, logging,
// and the mapping of errors. A function embeds an Edge and adds its own parts:
//
//	type Function struct {
//		*setup.Edge // Stop and Ready
//		cfg config
//	}
//	func New() *Function { return &Function{Edge: setup.NewEdge("decide")} }
//	func (f *Function) Start(ctx context.Context, cfg map[string]string) error { return f.Open(ctx, cfg, &f.cfg, f.start) }
//	func (f *Function) Handle(ctx context.Context, e ce.Event) (*ce.Event, error) { return f.Answer(ctx, &e, f.handle) }
type Edge struct {
	Log *zap.Logger

	name     string
	redis    Client                // pinged by Ready; nil: none
	mayEvict bool                  // REDIS_ALLOW_EVICTION
	failed   atomic.Pointer[error] // why the start failed, or what it waits for
	ready    atomic.Bool
	opens    atomic.Pointer[chan struct{}] // closed when Open is done; nil: not begun

	mu     sync.Mutex                    // held by Open and Stop, so that Stop waits for a start in progress
	living context.Context               // Start's context without its cancellation
	ends   []func(context.Context) error // called by Stop, the last one first
}

// NewEdge returns the Edge of the function called name. It is not open yet.
func NewEdge(name string) *Edge { return &Edge{Log: zap.NewNop(), name: name} }

// Open starts telemetry, fills the tagged struct into from cfg and runs the function's own
// start. Then the function is ready. An error is logged and returned by Ready too, and
// func-go ends the process, unless the error is [NotYet]: then Open returns nil, and the
// start is tried again every second.
func (g *Edge) Open(ctx context.Context, cfg map[string]string, into any, start func(context.Context) error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	done := make(chan struct{})
	g.opens.Store(&done)
	defer close(done)
	g.Log = Logger(g.name)
	err := g.open(ctx, cfg, into, start)
	if isNotYet(err) {
		g.failed.Store(&err)
		g.Log.Warn("waiting; the start is tried again every second", zap.Error(err))
		g.startLater(start)
		return nil
	}
	if err != nil {
		g.failed.Store(&err)
		g.Log.Error("start", zap.Error(err))
		return err
	}
	g.ready.Store(true)
	return nil
}

func (g *Edge) open(ctx context.Context, cfg map[string]string, into any, start func(context.Context) error) error {
	quiet, err := telemetry.Start(ctx, g.Log)
	if err != nil {
		return err
	}
	g.ends = append(g.ends, func(ctx context.Context) error {
		_ = quiet(ctx) // unsent spans are no reason to fail the stop
		return nil
	})
	if err := Load(cfg, into); err != nil {
		return err
	}
	g.living, g.mayEvict = context.WithoutCancel(ctx), cfg[allowEviction] == "true"
	return g.try(ctx, start)
}

// Redis connects to the Redis at url. Stop closes the connection, and Ready pings it. A
// Redis that can't be reached yet is not an error, because the client reconnects by itself.
// A Redis whose maxmemory-policy evicts keys is an error, unless REDIS_ALLOW_EVICTION is
// true. It is for the function's own start.
func (g *Edge) Redis(ctx context.Context, url string) (Client, error) {
	rdb, err := Redis(ctx, url)
	if rdb == nil {
		return nil, err
	}
	if err != nil {
		g.Log.Warn("redis is not there yet", zap.Error(err))
	}
	g.redis = rdb
	watchRoundTrips(rdb, g.name)
	g.AtEnd(rdb.Close)
	if err := g.checkMemory(ctx, rdb, err == nil); err != nil {
		return nil, err
	}
	return rdb, nil
}

// Together runs independent steps of a start concurrently. It returns the first error.
func Together(steps ...func() error) error {
	var g errgroup.Group
	for _, step := range steps {
		g.Go(step)
	}
	return g.Wait()
}

// AtEnd registers a function for Stop to call, the last one first. It is for the function's
// own start.
func (g *Edge) AtEnd(end func() error) {
	g.ends = append(g.ends, func(context.Context) error { return end() })
}

// Go runs work in the background. Stop cancels its context and waits for it. It is for the
// function's own start, after everything that the work needs: what was started last is
// stopped first.
func (g *Edge) Go(work func(context.Context)) {
	ctx, stop := context.WithCancel(g.living)
	var done sync.WaitGroup
	done.Go(func() { work(ctx) })
	g.AtEnd(func() error { stop(); done.Wait(); return nil })
}

// Follow runs step in the background, at once and again after each pause, as [Edge.Go] does.
// While step fails, the log says so once, and failed says what that means
// ([telemetry.Outage]). An error after Stop has begun is not logged.
func (g *Edge) Follow(pause time.Duration, failed string, step func(context.Context) error) {
	g.Go(func(ctx context.Context) {
		var outage telemetry.Outage
		for range repeat.Now(ctx, pause) {
			if err := step(ctx); ctx.Err() == nil {
				outage.Note(g.Log, failed, time.Now(), err)
			}
		}
	})
}

// Stop ends the background work and closes what was opened. By then func-go has drained the
// requests in flight.
func (g *Edge) Stop(ctx context.Context) (err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ready.Store(false)
	for _, end := range slices.Backward(g.ends) {
		err = errors.Join(err, end(ctx))
	}
	g.ends = nil
	return err
}

// Started reports whether the function's own start is done.
func (g *Edge) Started() bool { return g.ready.Load() }

// Ready reports whether the start is done and Redis answers, if the function has one. If the
// start failed, it returns its error.
func (g *Edge) Ready(ctx context.Context) (bool, error) {
	if err := g.failed.Load(); err != nil {
		return false, *err
	}
	if !g.ready.Load() {
		return false, nil
	}
	if g.redis == nil {
		return true, nil
	}
	if err := g.redis.Ping(ctx).Err(); err != nil {
		return false, fmt.Errorf("%s: redis: %w", g.name, err)
	}
	return true, nil
}

// Answer counts, times and traces one event, passes it to handle and maps its error for the
// Broker: see event.Result. Until the start is done, it returns a retryable error. Every
// event is logged here (a failed one as a warning, others at level debug), and nowhere else.
func (g *Edge) Answer(ctx context.Context, e *ce.Event, handle telemetry.Func) (*ce.Event, error) {
	if !g.ready.Load() && !g.awaitStart(ctx) {
		handle = g.starting
	}
	reply, err := telemetry.Handle(ctx, g.name, g.Log, e, handle)
	return reply, event.Result(err)
}

// startWait is how long an event waits for the start: longer than a start takes, and shorter
// than a Broker waits for an answer.
const startWait = 2 * time.Second

// awaitStart waits for a start in progress and reports whether it succeeded. Waiting is
// better than failing, because the Broker's backoff takes ten times as long as a start.
func (g *Edge) awaitStart(ctx context.Context) bool {
	opens := g.opens.Load()
	if opens == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	select {
	case <-*opens:
	case <-ctx.Done():
	}
	return g.ready.Load()
}

func (g *Edge) starting(context.Context, *ce.Event) (*ce.Event, error) {
	return nil, fmt.Errorf("%s: starting", g.name)
}
