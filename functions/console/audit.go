package console

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"go.uber.org/zap"
)

// change is one thing a person did on the page.
type change struct {
	At      time.Time `json:"at"`
	Who     string    `json:"who"`
	Roles   []Role    `json:"roles"`
	What    string    `json:"what"` // review.approve, kill-switch.on, player.erase, …
	Subject string    `json:"subject"`
	Note    string    `json:"note,omitzero"`
	Before  string    `json:"before"` // hash of the change before this one
	Hash    string    `json:"hash"`
}

// keptChanges is how many changes Redis keeps; older ones are in the log.
const keptChanges = 100_000

// audit is the record of changes: each is chained to the one before by its
// hash, kept in Redis and written to the log.
type audit struct {
	store *store
	log   *zap.Logger
	now   func() time.Time

	mu     sync.Mutex
	recent []change // newest last; all there is without Redis
	head   string
	loaded bool
}

func newAudit(s *store, log *zap.Logger, now func() time.Time) *audit {
	return &audit{store: s, log: log.Named("audit"), now: now}
}

// record journals a change before it is made; a change that cannot be
// journaled is not made.
func (a *audit) record(ctx context.Context, p *person, what, subject, note string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.load(ctx); err != nil {
		return err
	}
	c := change{At: a.now().UTC(), Who: p.Name, Roles: p.Roles, What: what, Subject: subject, Note: note, Before: a.head}
	c.Hash = c.sum()
	body, err := json.Marshal(c)
	if err != nil {
		return err
	}
	if a.store.rdb != nil {
		if err := a.store.append(ctx, keyAudit, keptChanges, body); err != nil {
			return err
		}
	}
	a.head = c.Hash
	if a.recent = append(a.recent, c); len(a.recent) > 1000 {
		a.recent = a.recent[1:]
	}
	a.log.Info("change", zap.String("who", c.Who), zap.String("what", what), zap.String("subject", subject), zap.String("hash", c.Hash))
	return nil
}

func (c change) sum() string {
	c.Hash = ""
	body, _ := json.Marshal(c)
	h := sha256.Sum256(body)
	return hex.EncodeToString(h[:])
}

func (a *audit) load(ctx context.Context) error {
	if a.loaded || a.store.rdb == nil {
		return nil
	}
	list, err := a.store.newest(ctx, keyAudit, 1000)
	if err != nil {
		return err
	}
	a.recent = nil
	for i := len(list) - 1; i >= 0; i-- {
		var c change
		if json.Unmarshal(list[i], &c) == nil {
			a.recent = append(a.recent, c)
			a.head = c.Hash
		}
	}
	a.loaded = true
	return nil
}

// changes are the newest changes, newest first, and whether their chain holds.
func (a *audit) changes(ctx context.Context, max int) (list []change, whole bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.load(ctx); err != nil {
		a.log.Warn("changes could not be read", zap.Error(err))
	}
	whole, list = true, []change{}
	for i := len(a.recent) - 1; i >= 0 && len(list) < max; i-- {
		c := a.recent[i]
		if c.sum() != c.Hash || i > 0 && c.Before != a.recent[i-1].Hash {
			whole = false
		}
		list = append(list, c)
	}
	return list, whole
}
