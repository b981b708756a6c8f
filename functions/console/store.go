package console

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"pitboss/internal/feature"
	"pitboss/internal/journal"
	"pitboss/internal/player"
	"pitboss/internal/setup"
)

// store is what the console asks Redis for: a player's state as it is now,
// read only, and its own few keys. Without Redis the page still shows what
// came in by event.
type store struct {
	rdb   setup.Client
	set   *feature.Set
	state *player.Store[feature.State]
	// journal of decisions and changes; nil without Redis.
	journal  *journal.Journal
	segments journal.Segments // what was written out of it
}

var errNoStore = errors.New("console: REDIS_URL is not set")

func openStore(ctx context.Context, cfg config, log *zap.Logger) (s *store, err error) {
	s = &store{}
	if s.segments, err = journal.OpenSegments(cfg.Segments); err != nil {
		return nil, fmt.Errorf("console: PITBOSS_SEGMENTS: %w", err)
	}
	if s.set, err = feature.Load(filepath.Join(cfg.ModelsDir, "features.yaml")); err != nil {
		log.Warn("players are shown as events tell", zap.Error(err))
	}
	if cfg.RedisURL == "" {
		return s, nil
	}
	if s.rdb, err = setup.Redis(ctx, cfg.RedisURL); err != nil {
		log.Warn("redis is not there yet", zap.Error(err))
	}
	if s.rdb != nil {
		s.journal = journal.New(s.rdb, 1)
	}
	if s.set != nil && s.rdb != nil {
		s.state = player.NewStore(s.rdb, s.set, player.Config{CachePlayers: 1})
	}
	return s, nil
}

// find looks a decision up in the journal, what was written out included.
func (s *store) find(ctx context.Context, id string) (*journal.Entry, []*journal.Entry, error) {
	return s.journal.Find(ctx, s.segments, id)
}

func (s *store) close() error {
	if s.rdb == nil {
		return nil
	}
	return s.rdb.Close()
}

func (s *store) command(ctx context.Context, args ...any) (any, error) {
	if s.rdb == nil {
		return nil, errNoStore
	}
	v, err := s.rdb.Do(ctx, args...).Result()
	if err != nil {
		return nil, fmt.Errorf("console: redis: %w", err)
	}
	return v, nil
}

// all returns a hash's members. RESP3 answers with a map, RESP2 with a list.
func (s *store) all(ctx context.Context, key string) (map[string][]byte, error) {
	v, err := s.command(ctx, "HGETALL", key)
	if err != nil {
		return nil, err
	}
	out := map[string][]byte{}
	switch v := v.(type) {
	case map[any]any:
		for k, val := range v {
			out[fmt.Sprint(k)] = []byte(fmt.Sprint(val))
		}
	case []any:
		for i := 0; i+1 < len(v); i += 2 {
			out[fmt.Sprint(v[i])] = []byte(fmt.Sprint(v[i+1]))
		}
	}
	return out, nil
}

// stateView is a player's state as Redis has it now.
type stateView struct {
	Version  string             `json:"version"`
	AsOf     time.Time          `json:"as_of"`
	Applied  uint64             `json:"applied"`
	Late     uint64             `json:"late"`
	Features map[string]float64 `json:"features"`
}
