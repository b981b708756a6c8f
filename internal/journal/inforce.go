package journal

import (
	"context"
	"time"
)

// InForce is a policy that was approved on a running system. It holds instead of
// the files it was made from, and only of those: a deploy with other files ends it.
type InForce struct {
	Base     string    `json:"base"`   // hash of the files' policy
	Policy   string    `json:"policy"` // hash of the policy in force; its document is kept
	By       string    `json:"by"`
	Approved string    `json:"approved,omitzero"`
	At       time.Time `json:"at"`
}

const inForceKey = "{ops}:policy"

// PutInForce puts a policy in force, whose document is kept already. Every decide
// acts on it within a second.
func (j *Journal) PutInForce(ctx context.Context, p InForce) error {
	return j.setJSON(ctx, "policy in force", inForceKey, p)
}

// InForce returns the policy that holds instead of the one of these files; nil:
// the files' own does.
func (j *Journal) InForce(ctx context.Context, base string) (*InForce, error) {
	var p InForce
	ok, err := j.getJSON(ctx, "policy in force", inForceKey, &p)
	if !ok || err != nil || p.Base != base || p.Policy == base {
		return nil, err
	}
	return &p, nil
}
