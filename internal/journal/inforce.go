package journal

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"

	"pitboss/internal/redisdb"
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
	raw, err := json.Marshal(p)
	if err == nil {
		err = j.rdb.Set(ctx, inForceKey, raw, 0).Err()
	}
	if err != nil {
		return fmt.Errorf("journal: policy in force: %w", err)
	}
	return nil
}

// InForce returns the policy that holds instead of the one of these files; nil:
// the files' own does.
func (j *Journal) InForce(ctx context.Context, base string) (*InForce, error) {
	raw, err := j.rdb.Get(ctx, inForceKey).Bytes()
	if errors.Is(err, redisdb.Nil) {
		return nil, nil
	}
	var p InForce
	if err == nil {
		err = json.Unmarshal(raw, &p)
	}
	if err != nil {
		return nil, fmt.Errorf("journal: policy in force: %w", err)
	}
	if p.Base != base || p.Policy == base {
		return nil, nil
	}
	return &p, nil
}
