package journal

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// promotedKey holds the promotion that is in force.
const promotedKey = "{ops}:learned"

// shadowedKey holds the learned policy in the shadow.
const shadowedKey = "{ops}:learned:shadow"

// Promotion puts a learned policy into force, as it is in the journal.
type Promotion struct {
	// Snapshot is the policy's hash, whose document is kept; "": the one of learning.yaml.
	Snapshot string    `json:"snapshot"`
	Before   string    `json:"before"` // the snapshot that it replaces
	By       []string  `json:"by"`
	Reason   string    `json:"reason"`
	At       time.Time `json:"at"`
	// Shadow says that the policy's choices are only recorded.
	Shadow bool `json:"shadow,omitzero"`
	// Back says that it was a rollback.
	Back bool `json:"back,omitzero"`
}

// ShadowLearned puts the learned policy with a hash in the shadow ("": none) and journals
// who did so and why. It changes no decision.
func (j *Journal) ShadowLearned(ctx context.Context, hash, by, reason string, at time.Time) error {
	now, err := j.Shadowed(ctx)
	if err != nil {
		return err
	}
	return j.promote(ctx, shadowedKey, Promotion{Snapshot: hash, Before: now.Snapshot, By: []string{by}, Reason: reason, At: at, Shadow: true})
}

// Shadowed returns the learned policy in the shadow, or zero if there never was one.
func (j *Journal) Shadowed(ctx context.Context) (Promotion, error) {
	return j.promotedBy(ctx, shadowedKey)
}

// ErrPromotedAnew refuses a promotion that a later one, or a rollback, has overtaken.
var ErrPromotedAnew = errors.New("journal: another learned policy was promoted, or taken back, after this was approved: propose it again")

// PromoteLearned puts the learned policy with a hash into force and journals who did so
// and why. Every instance of decide uses it within a second. It is idempotent for one time
// of approval (at).
func (j *Journal) PromoteLearned(ctx context.Context, hash string, by []string, reason string, at time.Time) error {
	now, err := j.Promoted(ctx)
	switch {
	case err != nil:
		return err
	case now.Snapshot == hash && now.At.Equal(at):
		return j.promote(ctx, promotedKey, now)
	case now.At.After(at):
		return ErrPromotedAnew
	}
	return j.promote(ctx, promotedKey, Promotion{Snapshot: hash, Before: now.Snapshot, By: by, Reason: reason, At: at})
}

// RollbackLearned restores the policy from before the promotion in force and returns the
// promotion that it made. A second rollback returns to learning.yaml, not to the policy
// that was rolled back: one person alone must not put that into force again.
func (j *Journal) RollbackLearned(ctx context.Context, by, reason string, at time.Time) (p Promotion, err error) {
	now, err := j.Promoted(ctx)
	if err != nil {
		return p, err
	}
	if now.At.IsZero() {
		return p, fmt.Errorf("%w: no learned policy was ever promoted", ErrNotFound)
	}
	p = Promotion{Snapshot: now.Before, Before: now.Snapshot, By: []string{by}, Reason: reason, At: at, Back: true}
	if now.Back {
		p.Snapshot = ""
	}
	return p, j.promote(ctx, promotedKey, p)
}

func (j *Journal) promote(ctx context.Context, key string, p Promotion) error {
	if p.Snapshot != "" {
		if _, err := j.Document(ctx, p.Snapshot); err != nil {
			return failed("promote", err)
		}
	}
	if err := j.setJSON(ctx, "promote", key, p); err != nil {
		return err
	}
	return j.recordJSON(ctx, "promote", KindLearned, p.At, p)
}

// Promoted returns the promotion in force, or zero if nothing was ever promoted.
func (j *Journal) Promoted(ctx context.Context) (Promotion, error) {
	return j.promotedBy(ctx, promotedKey)
}

func (j *Journal) promotedBy(ctx context.Context, key string) (p Promotion, err error) {
	_, err = j.getJSON(ctx, "promoted", key, &p)
	return p, err
}
