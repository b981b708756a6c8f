// Package profile folds events into the player's state.
//
// A platform event or reminder.due in → checked against the contract → folded
// into the player's state in Redis, exactly once → player.updated out, if score_when
// in features.yaml says that a decision is due; nothing otherwise.
// State touched: the player's key and the shard's reminders, in one script.
// It ignores events that only other functions handle. Errors: permanent (400) for an
// event against the contract; retryable (500) while it starts or Redis can't be
// reached.
//
// A redelivered event changes nothing. If a decision was due the first time, it is
// answered with an event of the same id, whose data is rebuilt from the current state.
package profile

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"go.uber.org/zap"

	"pitboss/internal/event"
	"pitboss/internal/feature"
	"pitboss/internal/player"
	"pitboss/internal/repeat"
	"pitboss/internal/setup"
	"pitboss/internal/telemetry"
)

const name = "profile"

type config struct {
	RedisURL     string        `env:"REDIS_URL,default=redis://127.0.0.1:6379"`
	ModelsDir    string        `env:"MODELS_DIR,default=models"`
	RememberIDs  int           `env:"PROFILE_REMEMBER_IDS,default=1024"`   // duplicate memory of a player, ids of 12 bytes
	RememberFor  time.Duration `env:"PROFILE_REMEMBER_FOR,default=24h"`    // the same, by age
	CachePlayers int           `env:"PROFILE_CACHE_PLAYERS,default=16384"` // decoded states kept in memory
	WaitReplicas int           `env:"PROFILE_WAIT_REPLICAS,default=0"`     // replicas that must have a commit before it is acknowledged
	WaitTimeout  time.Duration `env:"PROFILE_WAIT_TIMEOUT,default=1s"`
	ScoreWhen    string        `env:"SCORE_WHEN"` // "always": a decision for every event (benchmarks), whatever features.yaml says
}

// Function is profile. Until Start has run, it answers with a retryable error.
type Function struct {
	*setup.Edge
	cfg   config
	set   *feature.Set
	store *player.Store[feature.State]
	kept  *player.KeptOutLog
	games *player.TransitionLog
	now   func() time.Time
}

// New returns profile, not yet started.
func New() *Function { return &Function{Edge: setup.NewEdge(name), now: time.Now} }

// Start loads the declared features and connects to Redis.
func (f *Function) Start(ctx context.Context, cfg map[string]string) error {
	return f.Open(ctx, cfg, &f.cfg, f.start)
}

func (f *Function) start(ctx context.Context) error {
	c := f.cfg
	var set *feature.Set
	var rdb setup.Client
	err := setup.Together(
		func() (err error) { set, err = feature.Load(filepath.Join(c.ModelsDir, "features.yaml")); return err },
		func() (err error) { rdb, err = f.Redis(ctx, c.RedisURL); return err })
	if err != nil {
		return err
	}
	switch c.ScoreWhen {
	case "":
	case "always":
		set.ScoreAlways()
	default:
		return fmt.Errorf("profile: SCORE_WHEN is %q: want always, or leave it to features.yaml", c.ScoreWhen)
	}
	f.set = set
	f.store = player.NewStore(rdb, set, player.Config{
		RememberIDs: c.RememberIDs, RememberFor: c.RememberFor, CachePlayers: c.CachePlayers,
		WaitReplicas: c.WaitReplicas, WaitTimeout: c.WaitTimeout, Now: f.now,
	})
	f.AtEnd(telemetry.WatchStore(name, f.store.Stats))
	f.kept, f.games = player.NewKeptOutLog(rdb, f.now), player.NewTransitionLog(rdb, f.now)
	f.Go(f.tellKeptOut)
	return nil
}

// keptOutEvery is how often the counts of events that do not count are written to Redis.
const keptOutEvery = 2 * time.Second

// tellKeptOut writes to Redis, every so often, how many events of each producer did not
// count, and which games were opened after which.
func (f *Function) tellKeptOut(ctx context.Context) {
	for range repeat.After(ctx, keptOutEvery) {
		_ = f.kept.Flush(ctx) // Ready reports what is wrong with Redis; the counts are written next time
		_ = f.games.Flush(ctx)
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), keptOutEvery)
	defer cancel()
	if err := f.kept.Flush(end); err != nil {
		f.Log.Warn("the last counts of events that did not count are lost", zap.Error(err))
	}
	if err := f.games.Flush(end); err != nil {
		f.Log.Warn("the last counts of games opened after others are lost", zap.Error(err))
	}
}

// Handle folds one event.
func (f *Function) Handle(ctx context.Context, e ce.Event) (*ce.Event, error) {
	return f.Answer(ctx, &e, f.handle)
}

func (f *Function) handle(ctx context.Context, e *ce.Event) (*ce.Event, error) {
	r, err := event.Parse(e, event.Clock(e, f.now()))
	if err != nil {
		results.WithLabelValues("refused").Inc()
		return nil, err
	}
	// The Trigger has no filter, so that events of unknown types are refused here and
	// become dead letters. Events that only other functions handle are ignored.
	if !feature.Folds(r) {
		results.WithLabelValues("ignored").Inc()
		return nil, nil
	}
	reply, err := f.fold(ctx, e, r)
	if err != nil {
		results.WithLabelValues("failed").Inc()
	}
	return reply, err
}

func (f *Function) fold(ctx context.Context, in *ce.Event, r *event.Record) (*ce.Event, error) {
	u := update{set: f.set, conditions: f.set.Conditions(), record: r}
	res, err := f.store.Update(ctx, r.Subject, player.Op[feature.State]{Key: r.Key(), At: r.Time.UnixMilli(), Fold: u.fold, Keep: event.Outlives(r.Type)})
	if err != nil {
		return nil, err
	}
	result := u.result(res)
	results.WithLabelValues(result).Inc()
	if result == resultLate || result == resultUnknown {
		f.kept.Note(result, r.Source)
	}
	if result == resultApplied && u.game != "" {
		f.games.Note(u.game, u.next)
	}
	if res.Due == 0 {
		return nil, nil
	}
	u.data.Version = res.Version.String()
	return event.Reply(in, name, event.TypePlayerUpdated, u.data.AsOf, &u.data)
}
