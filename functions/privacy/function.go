// Package privacy erases players and exports copies of their data.
//
// privacy.erase in → privacy.erased out. privacy.export in → privacy.exported out.
// State touched: all of the player's keys. Three things stay after an erasure: the
// open part of the journal, which names nobody; under the player's key the time of the
// erasure, for two days, so that earlier events do not bring the player back; and what
// the law has us keep, such as the legal hold of an excluded player. Errors: retryable
// while it starts or Redis can't be reached. Both requests may be repeated.
package privacy

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"

	"pitboss/internal/event"
	"pitboss/internal/feature"
	"pitboss/internal/journal"
	"pitboss/internal/player"
	"pitboss/internal/setup"
)

const name = "privacy"

type config struct {
	RedisURL  string        `env:"REDIS_URL,default=redis://127.0.0.1:6379"`
	ModelsDir string        `env:"MODELS_DIR,default=models"`
	Keep      time.Duration `env:"PRIVACY_EXPORT_KEEP,default=168h"` // how long a copy can be fetched
	Refuse    time.Duration `env:"PRIVACY_REFUSE_FOR,default=48h"`   // how long an erased player's earlier events are refused
	Replicas  int           `env:"PRIVACY_WAIT_REPLICAS,default=0"`  // replicas that must have an erasure before it is acknowledged
	Segments  string        `env:"PITBOSS_SEGMENTS"`                 // folder of the journal's segments, if it is mounted
	VaultKey  string        `env:"PITBOSS_VAULT_KEY_FILE"`           // seals what the law has us keep; default: a key in Redis
}

// Function is privacy. Until Start has run, it answers with a retryable error.
type Function struct {
	*setup.Edge
	cfg    config
	rights *Rights
	now    func() time.Time
}

// New returns privacy, not yet started.
func New() *Function { return &Function{Edge: setup.NewEdge(name), now: time.Now} }

// Start loads the declared features, which decode a player's state, and connects to
// Redis.
func (f *Function) Start(ctx context.Context, cfg map[string]string) error {
	return f.Open(ctx, cfg, &f.cfg, f.start)
}

func (f *Function) start(ctx context.Context) error {
	segments, err := journal.OpenSegments(f.cfg.Segments)
	if err != nil {
		return fmt.Errorf("privacy: PITBOSS_SEGMENTS: %w", err)
	}
	set, err := feature.Load(filepath.Join(f.cfg.ModelsDir, "features.yaml"))
	if err != nil {
		return err
	}
	rdb, err := f.Redis(ctx, f.cfg.RedisURL)
	if err != nil {
		return err
	}
	secret, err := setup.Secret("PITBOSS_VAULT_KEY_FILE", f.cfg.VaultKey)
	if err != nil {
		return fmt.Errorf("privacy: %w", err)
	}
	f.rights, err = newRights(rdb, set, segments, f.cfg.ModelsDir, secret, player.Config{ErasedFor: f.cfg.Refuse, WaitReplicas: f.cfg.Replicas})
	return err
}

// Handle answers one request.
func (f *Function) Handle(ctx context.Context, e ce.Event) (*ce.Event, error) {
	return f.Answer(ctx, &e, f.handle)
}

func (f *Function) handle(ctx context.Context, e *ce.Event) (*ce.Event, error) {
	r, err := event.Parse(e, event.Clock(e, f.now()))
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
	doc, err := f.rights.keepCopy(ctx, r.Subject, req.Request, now, f.cfg.Keep)
	if err != nil {
		return nil, err
	}
	return event.Reply(e, name, event.TypePrivacyExported, now,
		&event.PrivacyExported{Request: req.Request, Until: now.Add(f.cfg.Keep), Bytes: int64(len(doc))})
}
