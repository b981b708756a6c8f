package player

import (
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"pitboss/internal/redisdb"
)

// Some acknowledged events do not count, because they came too late or undo an unknown
// round. They are counted by day and producer, and shown to the producer's team in the
// console.

//go:embed lua/keptout.lua
var keptOutLua string

const (
	keptOutFor    = 8 * 24 * time.Hour
	keptOutFields = 256 // limit of pairs of reason and producer a day, plus one field a reason for the others
)

// KeptOut is how many events of one producer did not count on a day (UTC).
type KeptOut struct {
	Day    string `json:"day"`
	Reason string `json:"reason"` // late, or unknown_round
	Source string `json:"source"`
	Events int64  `json:"events"`
}

// KeptOutLog counts in memory and adds to Redis when it is flushed. It is safe
// for concurrent use.
type KeptOutLog struct{ dayCounts[string] } // by field

// NewKeptOutLog returns a log that adds to the Redis of rdb.
func NewKeptOutLog(rdb redisdb.Client, now func() time.Time) *KeptOutLog {
	return &KeptOutLog{dayCounts[string]{rdb: rdb, now: now, counts: map[string]int64{}}}
}

// Note counts one event of the producer source.
func (l *KeptOutLog) Note(reason, source string) {
	field := reason + " " + source
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.counts[field]; !known && len(l.counts) >= keptOutFields {
		field = reason + " (others)"
	}
	l.counts[field]++
}

// Flush adds the counts to Redis. After an error they are kept for the next Flush.
func (l *KeptOutLog) Flush(ctx context.Context) error {
	counts := l.take()
	if len(counts) == 0 {
		return nil
	}
	args := []any{"EVAL", keptOutLua, 1, keptOutKey(l.now()), int(keptOutFor.Seconds()), keptOutFields}
	for field, n := range counts {
		args = append(args, field, n)
	}
	if err := l.rdb.Do(ctx, args...).Err(); err != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		for field, n := range counts {
			l.counts[field] += n
		}
		return fmt.Errorf("player: count events kept out: %w", err)
	}
	return nil
}

func keptOutKey(at time.Time) string { return "pitboss:keptout:" + at.UTC().Format(time.DateOnly) }

// ReadKeptOut lists the events that did not count on the latest days, today first, and
// within a day the largest counts first.
func ReadKeptOut(ctx context.Context, rdb redisdb.Client, now time.Time, days int) ([]KeptOut, error) {
	out := []KeptOut{}
	for i := range days {
		at := now.UTC().AddDate(0, 0, -i)
		counts, err := rdb.HGetAll(ctx, keptOutKey(at)).Result()
		if err != nil {
			return nil, fmt.Errorf("player: read events kept out: %w", err)
		}
		first := len(out)
		for field, n := range counts {
			reason, source, _ := strings.Cut(field, " ")
			events, _ := strconv.ParseInt(n, 10, 64)
			out = append(out, KeptOut{at.Format(time.DateOnly), reason, source, events})
		}
		slices.SortFunc(out[first:], func(a, b KeptOut) int {
			return cmp.Or(cmp.Compare(b.Events, a.Events), strings.Compare(a.Source, b.Source), strings.Compare(a.Reason, b.Reason))
		})
	}
	return out, nil
}
