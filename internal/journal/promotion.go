package journal

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"

	"pitboss/internal/redisdb"
)

// promotedKey holds the promotion that is in force.
const promotedKey = "{ops}:learned"

// Promotion puts a learned policy into force, as the journal has it.
type Promotion struct {
	// Snapshot is the policy's hash, of a text that is kept; "": as learning.yaml says.
	Snapshot string    `json:"snapshot"`
	Before   string    `json:"before"` // the one that it takes the place of
	By       []string  `json:"by"`
	Reason   string    `json:"reason"`
	At       time.Time `json:"at"`
}

// Promote puts a learned policy into force and journals who did and why. Every
// decide acts on it within a second.
func (j *Journal) Promote(ctx context.Context, p Promotion) error {
	if p.Snapshot != "" {
		if _, err := j.Document(ctx, p.Snapshot); err != nil {
			return fmt.Errorf("journal: promote: %w", err)
		}
	}
	raw, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("journal: promote: %w", err)
	}
	if err := j.rdb.Set(ctx, promotedKey, raw, 0).Err(); err != nil {
		return fmt.Errorf("journal: promote: %w", err)
	}
	return j.RecordOps(ctx, &Draft{Kind: KindLearned, Time: p.At, Open: raw})
}

// Promoted is the promotion in force; zero where nothing was ever promoted.
func (j *Journal) Promoted(ctx context.Context) (p Promotion, err error) {
	raw, err := j.rdb.Get(ctx, promotedKey).Bytes()
	if errors.Is(err, redisdb.Nil) {
		return p, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, &p)
	}
	if err != nil {
		return p, fmt.Errorf("journal: promoted: %w", err)
	}
	return p, nil
}
