package player

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"pitboss/internal/redisdb"
)

// The ranking of next games learns from which game players open after which. That is
// counted by day, for all players together.

const (
	transitionsFor  = 8 * 24 * time.Hour
	transitionsMost = 50_000 // limit of pairs of games a day; further pairs are not counted
)

// Transition is a game and the game that a player opened next.
type Transition struct{ Game, Next string }

// dayCounts counts in memory, until the counts are added to the day's hash in Redis.
type dayCounts[K comparable] struct {
	rdb redisdb.Client
	now func() time.Time

	mu     sync.Mutex
	counts map[K]int64
}

// take returns the counts and sets them back to zero.
func (c *dayCounts[K]) take() map[K]int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	counts := c.counts
	c.counts = map[K]int64{}
	return counts
}

// TransitionLog counts in memory and adds to Redis when it is flushed. It is safe for
// concurrent use. A process that dies loses the counts since the last flush: some seconds
// of a count over many days.
type TransitionLog struct{ dayCounts[Transition] }

// NewTransitionLog returns a log that adds to the Redis of rdb.
func NewTransitionLog(rdb redisdb.Client, now func() time.Time) *TransitionLog {
	return &TransitionLog{dayCounts[Transition]{rdb: rdb, now: now, counts: map[Transition]int64{}}}
}

// Note counts one player who opened next after game.
func (l *TransitionLog) Note(game, next string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.counts) < transitionsMost {
		l.counts[Transition{game, next}]++
	}
}

// Flush adds the counts to Redis. After an error they are dropped.
func (l *TransitionLog) Flush(ctx context.Context) error {
	counts := l.take()
	if len(counts) == 0 {
		return nil
	}
	key := transitionsKey(l.now())
	full, err := l.rdb.HLen(ctx, key).Result()
	if err != nil || full >= transitionsMost {
		return transitionsError(err)
	}
	_, err = l.rdb.Pipelined(ctx, func(p redisdb.Pipeliner) error {
		for t, n := range counts {
			p.HIncrBy(ctx, key, t.Game+transitionsSplit+t.Next, n)
		}
		p.Expire(ctx, key, transitionsFor)
		return nil
	})
	return transitionsError(err)
}

// transitionsSplit separates the two games in a field. A game that has it in its name is
// counted as another one, which does no harm.
const transitionsSplit = "\x00"

func transitionsKey(at time.Time) string { return "pitboss:next:" + at.UTC().Format(time.DateOnly) }

func transitionsError(err error) error {
	if err != nil {
		return fmt.Errorf("player: games played next: %w", err)
	}
	return nil
}

// EachTransition calls visit with the counts of the latest days, today (ago 0) first.
func EachTransition(ctx context.Context, rdb redisdb.Client, now time.Time, days int, visit func(t Transition, ago int, n int64)) error {
	for ago := range days {
		counts, err := rdb.HGetAll(ctx, transitionsKey(now.UTC().AddDate(0, 0, -ago))).Result()
		if err != nil {
			return transitionsError(err)
		}
		for field, text := range counts {
			game, next, ok := strings.Cut(field, transitionsSplit)
			n, err := strconv.ParseInt(text, 10, 64)
			if ok && err == nil {
				visit(Transition{game, next}, ago, n)
			}
		}
	}
	return nil
}
