// Package feedback journals the outcomes and reviews of decisions, and learns from
// outcomes.
//
// recommendation.delivered, .accepted, .dismissed, .expired and review.decided in →
// nothing out. recommendation.issued or .suppressed that needs a review in →
// review.requested out. Other recommendation.issued in → nothing out.
// State touched: the player's contact history and the shard's journal, in one script;
// the review queue; with a learning.yaml the shard's learned sums, in another script.
// Errors: permanent for an outcome of another player's decision; retryable while it
// starts or Redis can't be reached.
//
// A redelivered outcome is journaled once.
package feedback

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"github.com/go-json-experiment/json"

	"pitboss/internal/event"
	"pitboss/internal/journal"
	"pitboss/internal/player"
	"pitboss/internal/policy"
	"pitboss/internal/setup"
	"pitboss/internal/telemetry"
)

const name = "feedback"

type config struct {
	RedisURL     string        `env:"REDIS_URL,default=redis://127.0.0.1:6379"`
	ModelsDir    string        `env:"MODELS_DIR,default=models"`           // learning.yaml and features.yaml
	Players      int           `env:"FEEDBACK_CACHE_PLAYERS,default=4096"` // contact histories kept in memory
	WaitReplicas int           `env:"FEEDBACK_WAIT_REPLICAS,default=0"`    // replicas that must have an entry before it is acknowledged
	WaitTimeout  time.Duration `env:"FEEDBACK_WAIT_TIMEOUT,default=1s"`
	Review       time.Duration `env:"DECIDE_REVIEW_WITHIN,default=24h"` // the same as decide's
}

// Function is feedback. Until Start has run, it answers with a retryable error.
type Function struct {
	*setup.Edge
	cfg     config
	journal *journal.Journal
	learner *learner // nil without learning.yaml
	now     func() time.Time
}

// New returns feedback, not yet started.
func New() *Function { return &Function{Edge: setup.NewEdge(name), now: time.Now} }

// Start connects to Redis.
func (f *Function) Start(ctx context.Context, cfg map[string]string) error {
	return f.Open(ctx, cfg, &f.cfg, f.start)
}

func (f *Function) start(ctx context.Context) error {
	rdb, err := f.Redis(ctx, f.cfg.RedisURL)
	if err != nil {
		return err
	}
	f.journal = journal.New(rdb, f.cfg.Players).WaitReplicas(f.cfg.WaitReplicas, f.cfg.WaitTimeout)
	f.AtEnd(telemetry.WatchJournal(name, f.journal.Stats))
	f.learner, err = newLearner(f.cfg.ModelsDir)
	return err
}

// Handle journals one outcome or review, or requests a review.
func (f *Function) Handle(ctx context.Context, e ce.Event) (*ce.Event, error) {
	return f.Answer(ctx, &e, f.handle)
}

func (f *Function) handle(ctx context.Context, e *ce.Event) (*ce.Event, error) {
	r, err := event.Parse(e, event.Clock(e, f.now()))
	if err != nil {
		return nil, err
	}
	switch data := r.Data.(type) {
	case *event.Outcome:
		return nil, f.outcome(ctx, r, data)
	case *event.ReviewDecided:
		return nil, f.reviewed(ctx, r, data)
	case *event.Recommendation:
		if r.Type == event.TypeRecommendation {
			if err := f.learn(ctx, r, data.Decision, "issued"); err != nil {
				return nil, err
			}
		}
		if !data.Review || r.Type == event.TypeRevoked {
			return nil, nil
		}
		return event.Reply(e, name, event.TypeReviewRequested, data.DecidedAt,
			&event.ReviewRequested{Decision: data.Decision, Action: data.Action, Deadline: data.DecidedAt.Add(f.cfg.Review)})
	}
	return nil, event.Permanent(fmt.Errorf("feedback: takes outcomes and reviews, got %s", e.Type()))
}

// outcome journals an outcome, notes it in the contact history, and learns from it.
func (f *Function) outcome(ctx context.Context, r *event.Record, data *event.Outcome) error {
	status := strings.TrimSuffix(strings.TrimPrefix(r.Type, "pitboss.recommendation."), ".v1")
	err := f.about(ctx, r, data.Recommendation, journal.KindOutcome, policy.StatusOf(status),
		&policy.Outcome{Decision: data.Recommendation, Status: status, Channel: data.Channel, Value: data.Value, At: r.Time.UTC()})
	if err == nil {
		err = f.learn(ctx, r, data.Recommendation, status)
	}
	return err
}

// reviewed journals a review and removes the decision from the queue.
func (f *Function) reviewed(ctx context.Context, r *event.Record, data *event.ReviewDecided) error {
	err := f.about(ctx, r, data.Decision, journal.KindReview, 0,
		&policy.Review{Decision: data.Decision, Verdict: data.Verdict, By: data.By, Note: data.Note, At: r.Time.UTC()})
	if err == nil {
		_, err = f.journal.Reviewed(ctx, data.Decision)
	}
	return err
}

// about writes a journal entry about a decision of the event's player, once per event.
func (f *Function) about(ctx context.Context, r *event.Record, decision, kind string, status byte, data any) error {
	shard, err := journal.ShardOf(decision)
	if err == nil && shard != player.Shard(r.Subject) {
		err = fmt.Errorf("decision %s is not one about the event's subject", decision)
	}
	if err != nil {
		return &event.Problem{Code: event.CodeSchemaViolation, Pointer: "/data", Detail: err.Error()}
	}
	open, err := json.Marshal(data, json.Deterministic(true))
	if err != nil {
		return fmt.Errorf("feedback: %w", err)
	}
	id := r.Source + "\x00" + r.ID // neither has such a byte; both may have spaces
	_, err = f.journal.Record(ctx, r.Subject, journal.Present, func(v journal.View) (*journal.Draft, error) {
		c, err := policy.ReadContacts(v.Contacts)
		if err != nil {
			return nil, err
		}
		if _, done := c.Find(id); done {
			return nil, nil
		}
		at := f.now().UTC().Truncate(time.Millisecond)
		after := c.Noted(id, v.Seq, at, decision, status)
		return &journal.Draft{Kind: kind, Time: at, Open: open, Contacts: after, Decision: id}, nil
	})
	if errors.Is(err, journal.ErrErased) {
		return nil
	}
	return err
}
