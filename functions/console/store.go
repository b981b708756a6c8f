package console

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"

	"pitboss/internal/feature"
	"pitboss/internal/journal"
	"pitboss/internal/player"
	"pitboss/internal/setup"
)

// store is what the console has in Redis: the players' states, which it only
// reads, the journal, and a few hashes of its own. Without Redis the hashes are in
// memory and the page shows what came in by event.
type store struct {
	rdb   setup.Client // nil without Redis
	set   *feature.Set
	state *player.Store[feature.State]
	// journal of decisions and changes; nil without Redis.
	journal  *journal.Journal
	segments journal.Segments // entries that were written out of Redis
}

var errNoStore = errors.New("console: REDIS_URL is not set")

func openStore(ctx context.Context, cfg config, log *zap.Logger) (s *store, err error) {
	s = &store{}
	if s.segments, err = journal.OpenSegments(cfg.Segments); err != nil {
		return nil, fmt.Errorf("console: PITBOSS_SEGMENTS: %w", err)
	}
	if s.set, err = feature.Load(filepath.Join(cfg.ModelsDir, "features.yaml")); err != nil {
		log.Warn("player states are not shown", zap.Error(err))
	}
	if cfg.RedisURL == "" {
		return s, nil
	}
	if s.rdb, err = setup.Redis(ctx, cfg.RedisURL); err != nil {
		log.Warn("redis does not answer yet", zap.Error(err))
	}
	if s.rdb != nil {
		s.journal = journal.New(s.rdb, 1)
	}
	if s.set != nil && s.rdb != nil {
		s.state = player.NewStore(s.rdb, s.set, player.Config{CachePlayers: 1})
	}
	return s, nil
}

// find looks a decision up in the journal, in Redis and in the segments.
func (s *store) find(ctx context.Context, id string) (*journal.Entry, []*journal.Entry, error) {
	return s.journal.Find(ctx, s.segments, id)
}

func (s *store) close() error {
	if s.rdb == nil {
		return nil
	}
	return s.rdb.Close()
}

// hash is a Redis hash, or a map in memory where there is no Redis.
type hash struct {
	rdb setup.Client // nil without Redis
	key string

	mu     sync.Mutex
	memory map[string]string
}

func (s *store) hash(key string) *hash {
	return &hash{rdb: s.rdb, key: key, memory: map[string]string{}}
}

func (h *hash) all(ctx context.Context) (map[string]string, error) {
	if h.rdb != nil {
		fields, err := h.rdb.HGetAll(ctx, h.key).Result()
		return fields, redisError(err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return maps.Clone(h.memory), nil
}

func (h *hash) size(ctx context.Context) (int64, error) {
	if h.rdb != nil {
		n, err := h.rdb.HLen(ctx, h.key).Result()
		return n, redisError(err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return int64(len(h.memory)), nil
}

func (h *hash) set(ctx context.Context, field, value string) error {
	if h.rdb != nil {
		return redisError(h.rdb.HSet(ctx, h.key, field, value).Err())
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.memory[field] = value
	return nil
}

func (h *hash) remove(ctx context.Context, field string) error {
	if h.rdb != nil {
		return redisError(h.rdb.HDel(ctx, h.key, field).Err())
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.memory, field)
	return nil
}

func redisError(err error) error {
	if err != nil {
		return fmt.Errorf("console: redis: %w", err)
	}
	return nil
}

// stateView is a player's state as Redis has it now.
type stateView struct {
	Version  string             `json:"version"`
	AsOf     time.Time          `json:"as_of"`
	Applied  uint64             `json:"applied"`
	Late     uint64             `json:"late"`
	Features map[string]float64 `json:"features"`
}
