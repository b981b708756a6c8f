// Package decide picks the next best action that law and policy allow.
//
// player.scored in → recommendation.issued or .suppressed out.
// protection.excluded or a withdrawn consent.changed in → recommendation.revoked out,
// if something that was issued is not delivered yet.
// account.linked or account.unlinked in → the contact history notes to which person the
// account belongs; recommendation.revoked out, if that takes something back.
// State touched: the player's contact history and the shard's journal, in one script.
// The script also checks that the player's state is the one the decision was made from.
// Errors: retryable while it starts, Redis can't be reached, or the kill switches can't
// be read; permanent for an event against the contract.
//
// A redelivered event is answered from the journal with the same event.
package decide

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
	"pitboss/internal/journal"
	"pitboss/internal/learn"
	"pitboss/internal/policy"
	"pitboss/internal/repeat"
	"pitboss/internal/setup"
	"pitboss/internal/telemetry"
)

const name = "decide"

type config struct {
	RedisURL  string `env:"REDIS_URL,default=redis://127.0.0.1:6379"`
	ModelsDir string `env:"MODELS_DIR,default=models"`
	Players   int    `env:"DECIDE_CACHE_PLAYERS,default=65536"` // contact histories kept in memory
	// Clock is wall, or event to replay a recorded day.
	Clock        string        `env:"DECIDE_CLOCK,default=wall"`
	WaitReplicas int           `env:"DECIDE_WAIT_REPLICAS,default=0"` // replicas that must have an entry before it is acknowledged
	WaitTimeout  time.Duration `env:"DECIDE_WAIT_TIMEOUT,default=1s"`
	LearnPoll    time.Duration `env:"DECIDE_LEARN_POLL,default=30s"`    // how often learned sums are read
	Review       time.Duration `env:"DECIDE_REVIEW_WITHIN,default=24h"` // deadline of a person's review
}

// Function is decide. Until Start has run, it answers with a retryable error.
type Function struct {
	*setup.Edge
	cfg          config
	set          *feature.Set
	empty        []float64                     // the features of a player without events
	policy       *policy.Policy                // the policy of the files
	decides      atomic.Pointer[policy.Policy] // the policy in force with what was learned; nil: the policy of the files
	swap         sync.Mutex                    // held while decides is replaced
	ranker       atomic.Pointer[learn.Ranker]  // learned ranking of next games; nil: too little is known
	calibrations atomic.Pointer[calibrations]
	journal      *journal.Journal
	board        *journal.SwitchBoard
	now          func() time.Time
}

// New returns decide, not yet started.
func New() *Function { return &Function{Edge: setup.NewEdge(name), now: time.Now} }

// Start loads features, actions and rules, connects to Redis, and begins to
// follow the kill switches.
func (f *Function) Start(ctx context.Context, cfg map[string]string) error {
	return f.Open(ctx, cfg, &f.cfg, f.start)
}

func (f *Function) start(ctx context.Context) (err error) {
	if f.cfg.Clock != "wall" && f.cfg.Clock != "event" {
		return fmt.Errorf("decide: DECIDE_CLOCK is %q: want wall or event", f.cfg.Clock)
	}
	var declared *feature.Declarations
	var files *policy.Files
	var rdb setup.Client
	err = setup.Together(
		func() (err error) {
			declared, err = feature.Read(filepath.Join(f.cfg.ModelsDir, "features.yaml"))
			return err
		},
		func() (err error) { files, err = policy.Read(f.cfg.ModelsDir); return err },
		func() (err error) { rdb, err = f.Redis(ctx, f.cfg.RedisURL); return err })
	if err != nil {
		return err
	}
	err = setup.Together(
		func() (err error) { f.set, err = declared.Compile(); return err },
		func() (err error) { f.policy, err = files.Compile(declared.Names()); return err })
	if err != nil {
		return err
	}
	nobody, err := f.set.Decode(nil)
	if err != nil {
		return err
	}
	f.empty = f.set.Vector(nil, nobody, nobody.AsOf())
	f.journal = journal.New(rdb, f.cfg.Players).WaitReplicas(f.cfg.WaitReplicas, f.cfg.WaitTimeout)
	f.AtEnd(telemetry.WatchJournal(name, f.journal.Stats))
	f.board = f.journal.Board(ctx)
	f.Go(func(ctx context.Context) { f.keepDocuments(ctx); f.board.Follow(ctx) })
	if err := f.takePolicy(ctx); err != nil {
		f.Log.Warn("the policy in force can't be read yet", zap.Error(err))
	}
	f.Follow(policyPoll, "the policy in force can't be read; the one before decides", f.takePolicy)
	f.Follow(f.cfg.LearnPoll, "what players open next can't be read; the last ranking stays", func(ctx context.Context) error {
		return f.takeRanking(ctx, rdb)
	})
	f.Follow(f.cfg.LearnPoll, "the calibrations can't be read; the last ones stay", f.takeCalibrations)
	return f.startLearning()
}

// keepDocuments stores the policy, so that its decisions can be reproduced after the
// files have changed. It tries again until it succeeds or ctx ends.
func (f *Function) keepDocuments(ctx context.Context) {
	var outage telemetry.Outage
	text, err := f.policy.Document()
	if err != nil {
		f.Log.Error("the policy can't be stored", zap.Error(err))
		return
	}
	for range repeat.Now(ctx, time.Second) {
		err := f.journal.KeepDocument(ctx, f.policy.Hash(), text)
		if ctx.Err() != nil {
			return
		}
		outage.Note(f.Log, "the policy is not stored yet", f.now(), err)
		if err == nil {
			return
		}
		f.board.Current(ctx)
	}
}

var errSwitches = errors.New("decide: the kill switches can't be read")

// Handle makes a decision, or takes recommendations back.
func (f *Function) Handle(ctx context.Context, e ce.Event) (*ce.Event, error) {
	return f.Answer(ctx, &e, f.handle)
}

func (f *Function) handle(ctx context.Context, e *ce.Event) (*ce.Event, error) {
	r, err := event.Parse(e, event.Clock(e, f.now()))
	if err != nil {
		return nil, err
	}
	switch data := r.Data.(type) {
	case *event.PlayerScored:
		return f.decide(ctx, e, r, data)
	case *event.Excluded:
		return f.revoke(ctx, e, r, event.Reason{Code: "excluded", Text: "The player was excluded by " + data.Scheme + "."}, true)
	case *event.AccountLinked:
		return f.link(ctx, e, r, policy.Link{Person: data.Person, On: true, Confidence: uint8(data.Confidence)}, data.Reason)
	case *event.AccountUnlinked:
		return f.link(ctx, e, r, policy.Link{Person: data.Person}, data.Reason)
	case *event.ConsentChanged:
		if data.Granted {
			return nil, nil
		}
		return f.revoke(ctx, e, r, event.Reason{Code: "consent-withdrawn",
			Text: "The player opted out of " + data.Product + " on " + data.Channel + "."}, false)
	}
	return nil, event.Permanent(fmt.Errorf("decide: takes %s, got %s", event.TypePlayerScored, e.Type()))
}
