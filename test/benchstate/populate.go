package main

import (
	"context"
	"fmt"
	"runtime"

	"github.com/redis/go-redis/v9"

	"pitboss/internal/player"
)

// populate fills Redis with players up to the given number. Group 0 plays through the
// function. The other groups are copies of its states, so that every player has a history.
func (b *bench) populate(players int) error {
	want := max(1, players/groupSize)
	if b.groups == 0 {
		if _, err := measure(b.fn, b.redis, "load", "-addr", b.fn.addr, "-run", "warm", "-start", fmt.Sprint(b.start),
			"-n", fmt.Sprint(warmUp)); err != nil {
			return err
		}
		b.groups = 1
	}
	if want <= b.groups {
		return nil
	}
	ctx := context.Background()
	rdb := redis.NewClient(&redis.Options{Addr: b.redis.Addr})
	defer rdb.Close()
	values := make([]string, groupSize)
	for i := range values {
		v, err := rdb.Get(ctx, player.StateKey(playerName(0, i))).Result()
		if err != nil {
			return fmt.Errorf("state of %s: %w", playerName(0, i), err)
		}
		values[i] = v
	}
	for g := b.groups; g < want; g++ {
		pipe := rdb.Pipeline()
		for i, v := range values {
			pipe.Set(ctx, player.StateKey(playerName(g, i)), v, 0)
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return fmt.Errorf("copy players: %w", err)
		}
	}
	b.groups = want
	runtime.GC()
	return nil
}
