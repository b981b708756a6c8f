package decide

import (
	"context"
	"time"

	"go.uber.org/zap"

	"pitboss/internal/policy"
)

// policyPoll is how often decide looks for an approved policy.
const policyPoll = time.Second

// takePolicy adopts a policy that was approved on the running system, and returns to the
// policy of the files when it is no longer in force.
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
