// Package privacy keeps the player's rights: to be erased, to have a copy.
//
// privacy.erase in → privacy.erased out. privacy.export in → privacy.exported out.
// State touched: all of the player's keys. What stays after an erasure: the
// journal's open part, which names nobody; for a day, under the player's key, the
// time of the erasure, so that events of before do not bring the player back; and,
// where the player is excluded, the legal hold, so that they stay excluded. Errors: retryable while it starts
// or Redis can't be reached; both requests may be repeated.
package privacy

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"go.uber.org/zap"

	"pitboss/internal/event"
	"pitboss/internal/feature"
	"pitboss/internal/player"
	"pitboss/internal/setup"
	"pitboss/internal/telemetry"
)

const name = "privacy"

type config struct {
	RedisURL  string        `env:"REDIS_URL,default=redis://127.0.0.1:6379"`
	ModelsDir string        `env:"MODELS_DIR,default=models"`
	Keep      time.Duration `env:"PRIVACY_EXPORT_KEEP,default=168h"` // how long a copy can be fetched
	Refuse    time.Duration `env:"PRIVACY_REFUSE_FOR,default=25h"`   // how long an erased player's earlier events are refused
	Replicas  int           `env:"PRIVACY_WAIT_REPLICAS,default=0"`  // replicas that must have an erasure
}

// Function is privacy. Until Start has run, it answers with a retryable error.
type Function struct {
	quiet  func(context.Context) error // ends telemetry
	cfg    config
	rdb    setup.Client
	rights *Rights
	log    *zap.Logger
	ready  atomic.Bool
	now    func() time.Time
}

// New returns privacy, not yet started.
func New() *Function { return &Function{now: time.Now, log: zap.NewNop()} }

// Start loads the declared features, which a player's state is read with, and
// connects to Redis.
func (f *Function) Start(ctx context.Context, cfg map[string]string) error {
	f.log = setup.Logger(name)
	quiet, err := telemetry.Start(ctx, name)
	if err != nil {
		return err
	}
	f.quiet = quiet
	if err := setup.Load(cfg, &f.cfg); err != nil {
		return err
	}
	set, err := feature.Load(filepath.Join(f.cfg.ModelsDir, "features.yaml"))
	if err != nil {
		return err
	}
	if f.rdb, err = setup.Redis(ctx, f.cfg.RedisURL); f.rdb == nil {
		return err
	}
	if err != nil {
		f.log.Warn("redis is not there yet", zap.Error(err))
	}
	f.rights = newRights(f.rdb, set, player.Config{ErasedFor: f.cfg.Refuse, WaitReplicas: f.cfg.Replicas})
	f.ready.Store(true)
	return nil
}

// Stop closes the connection.
func (f *Function) Stop(ctx context.Context) error {
	if f.quiet != nil {
		defer f.quiet(ctx) //nolint:errcheck // spans not sent at the very end are no reason to fail
	}
	if f.rdb == nil {
		return nil
	}
	return f.rdb.Close()
}

// Ready is true while Redis answers.
func (f *Function) Ready(ctx context.Context) (bool, error) {
	if !f.ready.Load() {
		return false, nil
	}
	if err := f.rdb.Ping(ctx).Err(); err != nil {
		return false, fmt.Errorf("privacy: redis: %w", err)
	}
	return true, nil
}

var errStarting = errors.New("privacy: starting")

// Handle answers one request.
func (f *Function) Handle(ctx context.Context, e ce.Event) (*ce.Event, error) {
	return telemetry.Handle(ctx, name, &e, f.observed)
}

func (f *Function) observed(ctx context.Context, e *ce.Event) (*ce.Event, error) {
	reply, err := f.handle(ctx, e)
	if err != nil {
		f.log.Warn("request failed", zap.String("id", e.ID()), zap.String("type", e.Type()),
			zap.String("player", event.HashPlayer(e.Subject())), zap.Bool("permanent", event.IsPermanent(err)), zap.Error(err))
	}
	return reply, event.Result(err)
}

func (f *Function) handle(ctx context.Context, e *ce.Event) (*ce.Event, error) {
	if !f.ready.Load() {
		return nil, errStarting
	}
	r, err := event.Parse(e, f.now())
	if err != nil {
		return nil, err
	}
	req, ok := r.Data.(*event.PrivacyRequest)
	if !ok {
		return nil, event.Permanent(fmt.Errorf("privacy: takes erase and export, got %s", e.Type()))
	}
	now := f.now().UTC().Truncate(time.Millisecond)
	if r.Type == event.TypePrivacyErase {
		held, err := f.rights.Erase(ctx, r.Subject, req.Request, now)
		if err != nil {
			return nil, err
		}
		return event.Reply(e, name, event.TypePrivacyErased, now, &event.PrivacyErased{Request: req.Request, Erased: now, Held: held})
	}
	doc, err := f.rights.Export(ctx, r.Subject, req.Request, now)
	if err != nil {
		return nil, err
	}
	if err := f.rights.journal.PutExport(ctx, r.Subject, req.Request, doc, f.cfg.Keep); err != nil {
		return nil, err
	}
	return event.Reply(e, name, event.TypePrivacyExported, now,
		&event.PrivacyExported{Request: req.Request, Until: now.Add(f.cfg.Keep), Bytes: int64(len(doc))})
}
