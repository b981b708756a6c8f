package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"pitboss/internal/dataset"
	"pitboss/internal/event"
	"pitboss/internal/feature"
	"pitboss/internal/player"
)

// bytes plays recorded play into an empty Redis, each event at its own time, and asks Redis
// how much memory each player takes.
func (b *bench) bytes() error {
	setup, events, err := dataset.Load(b.opt.data, 0)
	if errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintf(os.Stderr, "bytes per player: no file %s in the data folder (PITBOSS_DATA); left out\n", b.opt.data)
		return nil
	}
	if err != nil {
		return err
	}
	set, err := feature.Load(filepath.Join(b.opt.models, "features.yaml"))
	if err != nil {
		return err
	}
	b.redis.Kill() // it has no persistence, so it restarts empty
	if err := b.redis.Restart(); err != nil {
		return err
	}
	rdb := redis.NewClient(&redis.Options{Addr: b.redis.Addr})
	defer rdb.Close()
	now := time.Time{}
	st := player.NewStore(rdb, set, player.Config{CachePlayers: 50_000, Now: func() time.Time { return now }})
	players := map[string]int{}
	ctx := context.Background()
	for _, e := range append(setup, events...) { // accounts and consents first, as real players have them
		r, err := event.Parse(e, e.Time())
		if err != nil {
			return err
		}
		now = r.Time
		players[r.Subject]++
		_, err = st.Update(ctx, r.Subject, player.Op[feature.State]{Key: r.Key(), Fold: func(s *feature.State, dup bool, _ uint8) (player.Effects, error) {
			if dup {
				return player.Effects{}, nil
			}
			out, err := set.Fold(s, r)
			return player.Effects{Reminders: out.Reminders}, err
		}})
		if err != nil {
			return err
		}
	}
	sizes := make([]int64, 0, len(players))
	for name := range players {
		n, err := rdb.MemoryUsage(ctx, player.StateKey(name)).Result()
		if err != nil {
			return fmt.Errorf("memory usage: %w", err)
		}
		sizes = append(sizes, n)
	}
	slices.Sort(sizes)
	at := func(q float64) float64 { return float64(sizes[int(q*float64(len(sizes)-1))]) }
	b.figures.BytesPerPlayerMedian, b.figures.BytesPerPlayerP99 = at(0.5), at(0.99)
	var sum int64
	for _, n := range sizes {
		sum += n
	}
	b.figures.BytesPerPlayerMean = float64(sum) / float64(len(sizes))
	b.row("bytes a player in Redis, %d players of %s: median", at(0.5), "≤ 1024", len(players), filepath.Base(b.opt.data))
	b.row("  p1", at(0.01), "")
	b.row("  p99", at(0.99), "")
	b.row("  largest", at(1), "")
	return nil
}
