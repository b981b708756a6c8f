package feedback

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"pitboss/internal/event"
	"pitboss/internal/feature"
	"pitboss/internal/journal"
	"pitboss/internal/learn"
	"pitboss/internal/player"
	"pitboss/internal/policy"
)

// learner holds what feedback needs to learn from outcomes.
type learner struct {
	spec *learn.Spec
	set  *feature.Set
}

// newLearner reads learning.yaml. It returns nil if there is none.
func newLearner(dir string) (*learner, error) {
	spec, err := learn.ReadSpec(filepath.Join(dir, "learning.yaml"))
	if spec == nil || err != nil {
		return nil, err
	}
	set, err := feature.Load(filepath.Join(dir, "features.yaml"))
	if err != nil {
		return nil, err
	}
	return &learner{spec, set}, nil
}

// learn adds a decision's outcome to the sums of its action. A decision counts with a
// reward of 0 as soon as it is issued. An outcome within the window adds its reward; of
// several the highest counts, once, in whatever order and however often they come. The
// reader of the sums allows for outcomes that are still to come
// ([journal.Journal.LearnedBy]).
func (f *Function) learn(ctx context.Context, r *event.Record, decision, outcome string) error {
	if f.learner == nil {
		return nil
	}
	rec, err := f.recorded(ctx, r.Subject, decision)
	if rec == nil || err != nil {
		return err
	}
	window := time.Duration(f.learner.spec.Window)
	if rec.Input.FeatureSet != f.learner.set.Hash() || f.now().Sub(rec.Input.Now) > window {
		return nil // it was made with another features.yaml, or the outcome is too late
	}
	rows := rec.Lessons(f.learner.spec, f.learner.set.Names())
	if rows == nil {
		return nil
	}
	_, err = f.journal.Learn(ctx, r.Subject, journal.Lesson{Spec: f.learner.spec, Decision: decision, At: rec.Input.Now, Now: f.now(),
		Action: rec.Decision.Action, Rank: learn.Rank(outcome), Rows: rows, Remember: window})
	return err
}

// recorded reads the decision from the journal. It returns nil if the decision is no
// longer in Redis, or the player was erased.
func (f *Function) recorded(ctx context.Context, id, decision string) (*policy.Record, error) {
	shard, err := journal.ShardOf(decision)
	if err != nil || shard != player.Shard(id) {
		return nil, event.Permanent(fmt.Errorf("feedback: decision %s is not one about the event's subject", decision))
	}
	b, err := f.journal.Contacts(ctx, id)
	if err != nil {
		return nil, err
	}
	contacts, err := policy.ParseContacts(b)
	if err != nil {
		return nil, err
	}
	var entry *journal.Entry
	if seq, ok := contacts.Find(decision); ok {
		entry, err = f.journal.Read(ctx, shard, seq)
	} else { // the contact history no longer remembers it
		entry, _, err = f.journal.Find(ctx, journal.Segments{}, decision)
	}
	if errors.Is(err, journal.ErrNotFound) || err == nil && entry.Personal == nil {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return policy.Join(entry.Open, entry.Personal)
}
