package decide

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"go.uber.org/zap"

	"pitboss/internal/learn"
	"pitboss/internal/policy"
	"pitboss/internal/repeat"
)

var shadowed = promauto.NewCounterVec(prometheus.CounterOpts{
	Name: "pitboss_learned_shadow_total", Help: "Decisions beside which a learned policy chose in the shadow, by whether it chose the same.",
}, []string{"same"})

func init() {
	for _, same := range []string{"true", "false"} {
		shadowed.WithLabelValues(same)
	}
}

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
	for range repeat.Now(ctx, min(promotionPoll, l.f.cfg.LearnPoll)) {
		if err := errors.Join(l.step(ctx), l.f.takeShadow(ctx)); err != nil && ctx.Err() == nil {
			l.f.Log.Warn("what was learned is not taken over; the one before decides", zap.Error(err))
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
	actions, err := l.f.journal.LearnedBy(ctx, l.spec, l.f.now())
	if err != nil {
		return err
	}
	l.forced = ""
	return l.f.adopt(ctx, &learn.Snapshot{Spec: *l.spec, Actions: actions})
}

// takeShadow takes over which learned policy chooses in the shadow.
func (f *Function) takeShadow(ctx context.Context) error {
	now, err := f.journal.Shadowed(ctx)
	if err != nil {
		return err
	}
	if was := f.decidesBy().Shadow(); was == nil && now.Snapshot == "" || was != nil && was.Hash == now.Snapshot {
		return nil
	}
	var m *learn.Model
	if now.Snapshot != "" {
		text, err := f.journal.Document(ctx, now.Snapshot)
		if err != nil {
			return err
		}
		if m, err = learn.Parse(text); err != nil {
			return err
		}
	}
	f.swap.Lock()
	defer f.swap.Unlock()
	f.decides.Store(f.decidesBy().WithShadow(m))
	f.Log.Info("another learned policy chooses in the shadow", zap.String("snapshot", now.Snapshot))
	return nil
}

// countShadow counts how often the policy in the shadow would have chosen as was
// chosen.
func countShadow(d *policy.Decision) {
	if d.Shadow == nil {
		return
	}
	did := policy.NoAction
	if d.Issued || d.Holdout {
		did = d.Action
	}
	shadowed.WithLabelValues(strconv.FormatBool(did == d.Shadow.Action)).Inc()
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
