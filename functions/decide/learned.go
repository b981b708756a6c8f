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
)

var shadowed = promauto.NewCounterVec(prometheus.CounterOpts{
	Name: "pitboss_learned_shadow_total", Help: "Decisions for which a shadow policy chose, too, by whether it chose the same.",
}, []string{"same"})

func init() {
	for _, same := range []string{"true", "false"} {
		shadowed.WithLabelValues(same)
	}
}

// decidesBy returns the policy in force with what was learned.
func (f *Function) decidesBy() *policy.Policy {
	if p := f.decides.Load(); p != nil {
		return p
	}
	return f.policy
}

// promotionPoll is how often decide looks for a promotion or a rollback of a learned
// policy.
const promotionPoll = time.Second

// follower keeps the learned policy current.
type follower struct {
	f      *Function
	spec   *learn.Spec
	frozen *learn.Snapshot // in learning.yaml's frozen mode; nil: it learns
	read   time.Time       // when the sums were last read
	forced string          // the promoted snapshot in force; "": none
}

// startLearning starts to follow what is learned, or the frozen snapshot if
// learning.yaml names one. Without learning.yaml it does nothing.
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
	f.Follow(min(promotionPoll, f.cfg.LearnPoll), "the learned policy can't be read; the one before decides", func(ctx context.Context) error {
		return errors.Join(l.step(ctx), f.takeShadow(ctx))
	})
	return nil
}

// step adopts the promoted policy, else the frozen one, else what is learned now.
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
		m, err := l.f.learned(ctx, p.Snapshot)
		if err != nil {
			return err
		}
		if err = l.f.adopt(ctx, m.Snapshot()); err == nil {
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

// learned reads the learned policy with a hash.
func (f *Function) learned(ctx context.Context, hash string) (*learn.Model, error) {
	text, err := f.journal.Document(ctx, hash)
	if err != nil {
		return nil, err
	}
	return learn.Parse(text)
}

// takeShadow adopts the learned policy that chooses in the shadow.
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
		if m, err = f.learned(ctx, now.Snapshot); err != nil {
			return err
		}
	}
	f.swap.Lock()
	defer f.swap.Unlock()
	f.decides.Store(f.decidesBy().WithShadow(m))
	f.Log.Info("another learned policy chooses in the shadow", zap.String("snapshot", now.Snapshot))
	return nil
}

// countShadow counts whether the shadow policy would have chosen the same.
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

// adopt makes a snapshot decide from now on. It stores the snapshot first, since a
// decision must be reproducible from what it was made by.
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
