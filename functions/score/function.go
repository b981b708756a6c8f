// Package score rates players with ONNX models.
//
// player.updated in → player.scored out: the same data with the scores of the
// live models (leave, harm), what each model said and which features moved it,
// and the ranking of next games. State touched: none. Errors: retryable while
// models are not loaded; permanent where the event can never be scored (it is
// malformed, or a live model needs a feature that the event lacks: the event
// was made with another features.yaml, and no retry will change it. Roll out
// features first, then the models that need them; the dead letter can be
// replayed).
//
// Models are renewed without a restart: see [score.Registry].
package score

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"go.uber.org/zap"

	"pitboss/internal/event"
	"pitboss/internal/feature"
	"pitboss/internal/score"
	"pitboss/internal/setup"
	"pitboss/internal/telemetry"
)

const name = "score"

type config struct {
	ModelsDir    string        `env:"MODELS_DIR,default=models"`
	FeaturesFile string        `env:"FEATURES_FILE"`               // default MODELS_DIR/features.yaml
	ServingFile  string        `env:"SERVING_FILE"`                // default MODELS_DIR/serving.yaml; a ConfigMap may hold it alone
	Runtime      string        `env:"ONNXRUNTIME_LIB"`             // default: where scripts/onnxruntime.sh puts it
	Poll         time.Duration `env:"MODELS_POLL,default=2s"`      // how often model files are looked at; 0: never
	Reasons      int           `env:"SCORE_REASONS,default=5"`     // features named per score
	Slots        int           `env:"SCORE_CONCURRENCY,default=0"` // model calls at once; 0: GOMAXPROCS
}

// Function is score. The zero value answers 500 (retry) until Start has run.
type Function struct {
	quiet  func(context.Context) error // ends telemetry
	cfg    config
	log    *zap.Logger
	models *score.Registry
	scorer atomic.Pointer[score.Scorer]
	failed atomic.Pointer[error] // why Start failed
	stop   context.CancelFunc
	watch  sync.WaitGroup
	now    func() time.Time
}

// New returns score, not yet started.
func New() *Function { return &Function{now: time.Now, log: zap.NewNop()} }

// Start loads ONNX Runtime and the models, and begins to watch their files.
// An error ends the start, but not the process: Ready tells it.
func (f *Function) Start(ctx context.Context, cfg map[string]string) error {
	err := f.start(ctx, cfg)
	if err != nil {
		f.failed.Store(&err)
		f.log.Error("start", zap.Error(err))
	}
	return err
}

func (f *Function) start(ctx context.Context, cfg map[string]string) error {
	f.log = setup.Logger(name)
	quiet, err := telemetry.Start(ctx, name)
	if err != nil {
		return err
	}
	f.quiet = quiet
	if err := setup.Load(cfg, &f.cfg); err != nil {
		return err
	}
	if f.cfg.FeaturesFile == "" {
		f.cfg.FeaturesFile = filepath.Join(f.cfg.ModelsDir, "features.yaml")
	}
	features, err := feature.Load(f.cfg.FeaturesFile)
	if err != nil {
		return err
	}
	if err := score.OpenRuntime(score.Library(f.cfg.Runtime)); err != nil {
		return err
	}
	f.models, err = score.Open(score.Config{
		Dir: f.cfg.ModelsDir, Serving: f.cfg.ServingFile, Log: f.log,
		LoadOptions: score.LoadOptions{Known: knows(features.Names()), Slots: f.cfg.Slots},
	})
	if err != nil { // some other model may serve, and Watch tries again
		f.log.Error("models", zap.Error(err))
	}
	f.scorer.Store(score.NewScorer(f.models, f.cfg.Reasons))
	if f.cfg.Poll > 0 {
		watching, stop := context.WithCancel(context.WithoutCancel(ctx))
		f.stop = stop
		f.watch.Go(func() { f.models.Watch(watching, f.cfg.Poll) })
	}
	return nil
}

func knows(names []string) func(string) bool {
	set := make(map[string]bool, len(names))
	for _, n := range names {
		set[n] = true
	}
	return func(n string) bool { return set[n] }
}

// Stop ends the watch and frees the models once calls in flight have ended.
func (f *Function) Stop(ctx context.Context) error {
	if f.quiet != nil {
		defer f.quiet(ctx) //nolint:errcheck // spans not sent at the very end are no reason to fail
	}
	if f.stop != nil {
		f.stop()
		f.watch.Wait()
	}
	if f.scorer.Load() == nil {
		return nil
	}
	return f.models.Close()
}

// Ready reports whether every model that serving.yaml names is served. The
// error names the file that was refused.
func (f *Function) Ready(context.Context) (bool, error) {
	if err := f.failed.Load(); err != nil {
		return false, *err
	}
	if f.scorer.Load() == nil {
		return false, nil
	}
	return f.models.Ready()
}

// Status tells which models serve and which were refused, for the console.
func (f *Function) Status() score.Status {
	if f.scorer.Load() == nil {
		return score.Status{}
	}
	return f.models.Status()
}

// Handle scores one player.updated.
func (f *Function) Handle(ctx context.Context, e ce.Event) (*ce.Event, error) {
	return telemetry.Handle(ctx, name, &e, f.observed)
}

func (f *Function) observed(_ context.Context, e *ce.Event) (*ce.Event, error) {
	reply, err := f.handle(e)
	if err != nil {
		f.log.Warn("event failed", zap.String("id", e.ID()), zap.String("type", e.Type()),
			zap.String("player", event.HashPlayer(e.Subject())), zap.Bool("permanent", event.IsPermanent(err)), zap.Error(err))
	}
	return reply, event.Result(err)
}

func (f *Function) handle(e *ce.Event) (*ce.Event, error) {
	scorer := f.scorer.Load()
	if scorer == nil {
		return nil, errors.New("score: still starting")
	}
	r, err := event.Check(e, f.now())
	if err != nil {
		return nil, err
	}
	if r.Type != event.TypePlayerUpdated {
		return nil, event.Permanent(fmt.Errorf("score: takes %s, got %s", event.TypePlayerUpdated, e.Type()))
	}
	var in event.PlayerUpdated // but for what is only carried on
	var out event.PlayerScored
	if in.Features, in.Facts, err = event.ReadUpdated(e.Data()); err != nil {
		return nil, err
	}
	if err := scorer.Score(&in, &out); err != nil {
		return nil, err
	}
	return event.Reply(e, name, event.TypePlayerScored, r.Time, out.AppendTo(e.Data()))
}
