package journal

import (
	"context"
	"time"
)

// InForce is a policy that was approved on a running system. It replaces the policy of the
// files that it was derived from, and only that one: a deploy with other files ends it.
type InForce struct {
	Base     string    `json:"base"`   // hash of the files' policy
	Policy   string    `json:"policy"` // hash of the policy in force; see KeepDocument
	By       string    `json:"by"`
	Approved string    `json:"approved,omitzero"`
	At       time.Time `json:"at"`
}

const inForceKey = "{ops}:policy"

// PutInForce puts a policy in force. Its document must be kept already. Every instance of
// decide uses it within a second.
func (j *Journal) PutInForce(ctx context.Context, p InForce) error {
	return j.setJSON(ctx, "policy in force", inForceKey, p)
}

// InForce returns the policy that replaces the one with the hash base, or nil if none
// does.
func (j *Journal) InForce(ctx context.Context, base string) (*InForce, error) {
	var p InForce
	ok, err := j.getJSON(ctx, "policy in force", inForceKey, &p)
	if !ok || err != nil || p.Base != base || p.Policy == base {
		return nil, err
	}
	return &p, nil
}
