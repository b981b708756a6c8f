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
	"pitboss/internal/telemetry"
)

// Edge is what every function does where it meets the world: its start and its
// end, whether it is ready, its log, and what becomes of an error. A function
// embeds one and keeps what is its own:
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

	mu     sync.Mutex                    // held by Open and Stop: a Stop in the middle of a start waits for it
	living context.Context               // Start's, without its end
	ends   []func(context.Context) error // called by Stop, the last one first
}

// NewEdge returns the edge of the function called name, not yet open.
func NewEdge(name string) *Edge { return &Edge{Log: zap.NewNop(), name: name} }

// Open begins telemetry, fills the tagged struct into from cfg and runs the
// function's own start. Once that is done, the function is ready. An error is
// logged, and Ready tells it. func-go then ends the process, except where the error
// is NotYet: Open returns nil, and the start is tried again every second.
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
		_ = quiet(ctx) // spans not sent at the very end are no reason to fail
		return nil
	})
	if err := Load(cfg, into); err != nil {
		return err
	}
	g.living, g.mayEvict = context.WithoutCancel(ctx), cfg[allowEviction] == "true"
	return g.try(ctx, start)
}

// Redis connects to the Redis at url, closed by Stop and pinged by Ready. One
// that can't be reached yet is no error: the client reconnects by itself. One
// whose maxmemory-policy evicts is an error, unless REDIS_ALLOW_EVICTION is true.
// For the function's own start.
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

// Together takes steps of a start that don't wait for each other, at once. The
// error is the first step's that failed.
func Together(steps ...func() error) error {
	var g errgroup.Group
	for _, step := range steps {
		g.Go(step)
	}
	return g.Wait()
}

// AtEnd has Stop call end, the last one first. For the function's own start.
func (g *Edge) AtEnd(end func() error) {
	g.ends = append(g.ends, func(context.Context) error { return end() })
}

// Go runs work until Stop ends its context and has waited for it. For the
// function's own start, after what the work needs: what was begun last ends first.
func (g *Edge) Go(work func(context.Context)) {
	ctx, stop := context.WithCancel(g.living)
	var done sync.WaitGroup
	done.Go(func() { work(ctx) })
	g.AtEnd(func() error { stop(); done.Wait(); return nil })
}

// Stop ends what runs in the background and closes what was opened; func-go
// has drained the requests in flight.
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

// Started tells whether the function's own start is done.
func (g *Edge) Started() bool { return g.ready.Load() }

// Ready is true once the start is done and while Redis answers, if the function
// has one. The error of a start that failed says what is wrong.
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

// Answer counts, times and traces one event, hands it to handle and turns its
// error into what the Broker does: see event.Result. Before the start is done
// the Broker is to try again. Every event is logged here (a failed one as a
// warning, the others at level debug), and nowhere else.
func (g *Edge) Answer(ctx context.Context, e *ce.Event, handle telemetry.Func) (*ce.Event, error) {
	if !g.ready.Load() && !g.awaitStart(ctx) {
		handle = g.starting
	}
	reply, err := telemetry.Handle(ctx, g.name, g.Log, e, handle)
	return reply, event.Result(err)
}

// startWait is how long an event waits for the start: longer than any start
// takes, shorter than a Broker waits for an answer.
const startWait = 2 * time.Second

// awaitStart waits for a start that has begun and tells whether it succeeded:
// a retry would come after the Broker's backoff, ten times a start later.
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
