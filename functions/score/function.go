// Package score rates players with ONNX models.
//
// player.updated in → player.scored out: the same data with the scores of the
// live models (leave, harm), what each model said and which features moved it,
// and the ranking of next games. State touched: none. Errors: retryable while models
// are not loaded; permanent for an event that can never be scored. Such an event is
// malformed, or it lacks a feature that a live model needs, because it was made with
// another features.yaml. So roll out features before the models that need them; the
// dead letters can be replayed.
//
// Models are replaced without a restart: see [model.Registry].
package score

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"pitboss/internal/event"
	"pitboss/internal/feature"
	"pitboss/internal/model"
	"pitboss/internal/setup"
)

const name = "score"

type config struct {
	ModelsDir    string        `env:"MODELS_DIR,default=models"`
	FeaturesFile string        `env:"FEATURES_FILE"`               // default MODELS_DIR/features.yaml
	ServingFile  string        `env:"SERVING_FILE"`                // default MODELS_DIR/serving.yaml; a ConfigMap may hold it alone
	Runtime      string        `env:"ONNXRUNTIME_LIB"`             // default: where scripts/onnxruntime.sh puts it
	Poll         time.Duration `env:"MODELS_POLL,default=2s"`      // how often model files are checked; 0: never
	Reasons      int           `env:"SCORE_REASONS,default=5"`     // features named per score
	Slots        int           `env:"SCORE_CONCURRENCY,default=0"` // model calls at once; 0: GOMAXPROCS
}

// Function is score. Until Start has run, it answers with a retryable error.
type Function struct {
	*setup.Edge
	cfg    config
	models *model.Registry
	scorer *model.Scorer
	now    func() time.Time
}

// New returns score, not yet started.
func New() *Function { return &Function{Edge: setup.NewEdge(name), now: time.Now} }

// Start loads ONNX Runtime and the models, and starts to watch their files. A model that
// does not load is no error: Ready reports it, and Watch tries again.
func (f *Function) Start(ctx context.Context, cfg map[string]string) error {
	return f.Open(ctx, cfg, &f.cfg, f.start)
}

func (f *Function) start(context.Context) error {
	open := sync.OnceValue(func() error { return model.OpenRuntime(model.Library(f.cfg.Runtime)) })
	var files errgroup.Group // read while ONNX Runtime opens, which takes longest
	files.Go(func() error { return f.open(open) })
	if err := errors.Join(open(), files.Wait()); err != nil {
		return err
	}
	f.scorer = model.NewScorer(f.models, f.cfg.Reasons)
	if f.cfg.Poll > 0 {
		f.Go(func(ctx context.Context) { f.models.Watch(ctx, f.cfg.Poll) })
	}
	return nil
}

// open loads the models. runtime waits until ONNX Runtime is open. A model that does
// not load is no error: others may serve, and Watch tries again.
func (f *Function) open(runtime func() error) error {
	if f.cfg.FeaturesFile == "" {
		f.cfg.FeaturesFile = filepath.Join(f.cfg.ModelsDir, "features.yaml")
	}
	features, err := feature.Names(f.cfg.FeaturesFile)
	if err != nil {
		return err
	}
	f.models, err = model.Open(model.Config{
		Dir: f.cfg.ModelsDir, Serving: f.cfg.ServingFile, Log: f.Log,
		LoadOptions: model.LoadOptions{Known: knows(features), Slots: f.cfg.Slots, Runtime: runtime},
	})
	f.AtEnd(f.models.Close) // after pending calls have ended
	if err != nil && runtime() == nil {
		f.Log.Error("models", zap.Error(err))
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

// Ready reports whether every model that serving.yaml names is loaded. The error names
// the file that was refused.
func (f *Function) Ready(ctx context.Context) (bool, error) {
	if ok, err := f.Edge.Ready(ctx); !ok {
		return false, err
	}
	return f.models.Ready()
}

// Handle scores one player.updated.
func (f *Function) Handle(ctx context.Context, e ce.Event) (*ce.Event, error) {
	return f.Answer(ctx, &e, f.handle)
}

func (f *Function) handle(_ context.Context, e *ce.Event) (*ce.Event, error) {
	r, err := event.Check(e, event.Clock(e, f.now()))
	if err != nil {
		return nil, err
	}
	if r.Type != event.TypePlayerUpdated {
		return nil, event.Permanent(fmt.Errorf("score: takes %s, got %s", event.TypePlayerUpdated, e.Type()))
	}
	in, err := event.ReadUpdated(e.Data())
	if err != nil {
		return nil, err
	}
	var out event.PlayerScored
	if err := f.scorer.Score(&in, &out); err != nil {
		return nil, err
	}
	return event.Reply(e, name, event.TypePlayerScored, r.Time, out.AppendTo(e.Data()))
}
