package decide

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"pitboss/internal/learn"
	"pitboss/internal/policy"
)

// decidesBy is the policy that decides now.
func (f *Function) decidesBy() *policy.Policy {
	if p := f.learned.Load(); p != nil {
		return p
	}
	return f.policy
}

// startLearning begins to follow what is learned, or takes over the frozen
// snapshot, where learning.yaml says so.
func (f *Function) startLearning() error {
	spec, err := learn.ReadSpec(filepath.Join(f.cfg.ModelsDir, "learning.yaml"))
	if spec == nil || err != nil {
		return err
	}
	next := func(ctx context.Context) (*learn.Snapshot, error) {
		actions, err := f.journal.Learned(ctx, spec)
		return &learn.Snapshot{Spec: *spec, Actions: actions}, err
	}
	if spec.Mode == learn.Frozen {
		text, err := os.ReadFile(filepath.Join(f.cfg.ModelsDir, spec.Snapshot))
		if err != nil {
			return fmt.Errorf("decide: learned snapshot: %w", err)
		}
		frozen, err := learn.Parse(text)
		if err != nil {
			return fmt.Errorf("decide: %s: %w", spec.Snapshot, err)
		}
		next = func(context.Context) (*learn.Snapshot, error) { return frozen.Snapshot(), nil }
	}
	f.Go(func(ctx context.Context) {
		for ctx.Err() == nil {
			snapshot, err := next(ctx)
			if err == nil {
				err = f.adopt(ctx, snapshot)
			}
			if err != nil && ctx.Err() == nil {
				f.Log.Warn("what was learned is not taken over; the one before decides", zap.Error(err))
			}
			select {
			case <-ctx.Done():
			case <-time.After(f.cfg.LearnPoll):
			}
		}
	})
	return nil
}

// adopt decides by a snapshot from now on. It is kept under its hash first: what
// a decision was made by must be there when it is reproduced.
func (f *Function) adopt(ctx context.Context, s *learn.Snapshot) error {
	text, hash, err := s.Text()
	if err != nil {
		return err
	}
	if p := f.learned.Load(); p != nil && p.LearnedHash() == hash {
		return nil
	}
	m, err := s.Model()
	if err != nil {
		return err
	}
	if err := f.journal.KeepDocument(ctx, hash, text); err != nil {
		return err
	}
	f.learned.Store(f.policy.With(m))
	f.Log.Info("decides by what was learned", zap.String("snapshot", hash))
	return nil
}
