package decide

import (
	"context"
	"time"

	"go.uber.org/zap"

	"pitboss/internal/policy"
	"pitboss/internal/repeat"
	"pitboss/internal/telemetry"
)

// policyPoll is how often decide looks for an approved policy.
const policyPoll = time.Second

// followPolicy adopts a policy that was approved on the running system, and returns to
// the policy of the files when it is no longer in force.
func (f *Function) followPolicy(ctx context.Context) {
	var outage telemetry.Outage
	for range repeat.Now(ctx, policyPoll) {
		if err := f.takePolicy(ctx); ctx.Err() == nil {
			outage.Note(f.Log, "the policy in force can't be read; the one before decides", f.now(), err)
		}
	}
}

func (f *Function) takePolicy(ctx context.Context) error {
	now, err := f.journal.InForce(ctx, f.policy.Hash())
	if err != nil {
		return err
	}
	next := f.policy
	if now != nil {
		if f.decidesBy().Hash() == now.Policy {
			return nil
		}
		text, err := f.journal.Document(ctx, now.Policy)
		if err != nil {
			return err
		}
		if next, err = policy.ParseDocument(text); err != nil {
			return err
		}
	}
	f.swap.Lock()
	defer f.swap.Unlock()
	was := f.decidesBy()
	if was.Hash() == next.Hash() {
		return nil
	}
	f.decides.Store(next.With(was.Learned()).WithShadow(was.Shadow()))
	f.Log.Info("decides by another policy", zap.String("policy", next.Hash()))
	return nil
}
