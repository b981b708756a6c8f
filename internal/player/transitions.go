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

// Which game players open after which is counted by day, as it happens: the
// ranking of next games learns from it. It names nobody.

const (
	transitionsFor  = 8 * 24 * time.Hour
	transitionsMost = 50_000 // pairs of games a day: where there are more, those that come later are not counted
)

// Transition is a game and the one that players opened next, on a day.
type Transition struct{ Game, Next string }

// TransitionLog counts in memory and adds to Redis when it is flushed. It is safe
// for concurrent use. What a process that dies has not flushed is lost: some
// seconds of a count of many days.
type TransitionLog struct {
	rdb redisdb.Client
	now func() time.Time

	mu     sync.Mutex
	counts map[Transition]int64
}

// NewTransitionLog returns a log that adds to the Redis of rdb.
func NewTransitionLog(rdb redisdb.Client, now func() time.Time) *TransitionLog {
	return &TransitionLog{rdb: rdb, now: now, counts: map[Transition]int64{}}
}

// Note counts one player who opened next after game.
func (l *TransitionLog) Note(game, next string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.counts) < transitionsMost {
		l.counts[Transition{game, next}]++
	}
}

// Flush adds what was counted to Redis. What could not be added is dropped.
func (l *TransitionLog) Flush(ctx context.Context) error {
	l.mu.Lock()
	counts := l.counts
	l.counts = map[Transition]int64{}
	l.mu.Unlock()
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

// transitionsSplit stands between the two games of a field. A game with it in its
// name is counted as another, which harms nobody.
const transitionsSplit = "\x00"

func transitionsKey(at time.Time) string { return "pitboss:next:" + at.UTC().Format(time.DateOnly) }

func transitionsError(err error) error {
	if err != nil {
		return fmt.Errorf("player: games played next: %w", err)
	}
	return nil
}

// EachTransition calls visit with what was counted on the latest days, today (0)
// first.
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
