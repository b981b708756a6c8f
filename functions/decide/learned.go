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

// decidesBy is the policy that decides now: the files' or one that was approved
// on the running system, with what was learned.
func (f *Function) decidesBy() *policy.Policy {
	if p := f.decides.Load(); p != nil {
		return p
	}
	return f.policy
}

// promotionPoll is how often decide looks whether another learned policy was put
// into force, or taken back.
const promotionPoll = time.Second

// follower follows what is learned, and what of it is in force.
type follower struct {
	f      *Function
	spec   *learn.Spec
	frozen *learn.Snapshot // of learning.yaml's frozen mode; nil: it learns
	read   time.Time       // when the sums were read last
	forced string          // the promoted snapshot that decides; "": learning.yaml's way
}

// startLearning begins to follow what is learned, or takes over the frozen
// snapshot, where learning.yaml says so.
func (f *Function) startLearning() error {
	spec, err := learn.ReadSpec(filepath.Join(f.cfg.ModelsDir, "learning.yaml"))
	if spec == nil || err != nil {
		return err
	}
	l := &follower{f: f, spec: spec}
	if spec.Mode == learn.Frozen {
		text, err := os.ReadFile(filepath.Join(f.cfg.ModelsDir, spec.Snapshot))
		if err != nil {
			return fmt.Errorf("decide: learned snapshot: %w", err)
		}
		frozen, err := learn.Parse(text)
		if err != nil {
			return fmt.Errorf("decide: %s: %w", spec.Snapshot, err)
		}
		l.frozen = frozen.Snapshot()
	}
	f.Go(l.run)
	return nil
}

func (l *follower) run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := l.step(ctx); err != nil && ctx.Err() == nil {
			l.f.Log.Warn("what was learned is not taken over; the one before decides", zap.Error(err))
		}
		select {
		case <-ctx.Done():
		case <-time.After(min(promotionPoll, l.f.cfg.LearnPoll)):
		}
	}
}

// step takes over the promoted policy; where none is, the frozen one or what is
// learned now.
func (l *follower) step(ctx context.Context) error {
	p, err := l.f.journal.Promoted(ctx)
	if err != nil {
		return err
	}
	changed := p.Snapshot != l.forced
	switch {
	case p.Snapshot != "":
		if !changed {
			return nil
		}
		text, err := l.f.journal.Document(ctx, p.Snapshot)
		if err != nil {
			return err
		}
		m, err := learn.Parse(text)
		if err != nil {
			return err
		}
		err = l.f.adopt(ctx, m.Snapshot())
		if err == nil {
			l.forced = p.Snapshot
		}
		return err
	case l.frozen != nil:
		l.forced = ""
		return l.f.adopt(ctx, l.frozen)
	case !changed && time.Since(l.read) < l.f.cfg.LearnPoll:
		return nil
	}
	l.read = time.Now()
	actions, err := l.f.journal.Learned(ctx, l.spec)
	if err != nil {
		return err
	}
	l.forced = ""
	return l.f.adopt(ctx, &learn.Snapshot{Spec: *l.spec, Actions: actions})
}

// adopt decides by a snapshot from now on. It is kept under its hash first: what
// a decision was made by must be there when it is reproduced.
func (f *Function) adopt(ctx context.Context, s *learn.Snapshot) error {
	text, hash, err := s.Text()
	if err != nil {
		return err
	}
	if f.decidesBy().LearnedHash() == hash {
		return nil
	}
	m, err := s.Model()
	if err != nil {
		return err
	}
	if err := f.journal.KeepSnapshot(ctx, hash, text); err != nil {
		return err
	}
	f.swap.Lock()
	f.decides.Store(f.decidesBy().With(m))
	f.swap.Unlock()
	f.Log.Debug("decides by what was learned", zap.String("snapshot", hash))
	return nil
}
