package journal

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"pitboss/internal/learn"
	"pitboss/internal/redisdb"
)

// Two statistics correct the sums for outcomes that are still to come: the pending
// decisions of the window, by when they were made, and the delays of outcomes. They are
// only approximate: if an instance dies after it has added to the sums, its decision is
// missing here until the window is over.

// pendingKey returns the key of the decisions made in one slot of the window.
func pendingKey(spec *learn.Spec, slot int64) string {
	return fmt.Sprintf("pitboss:pending:%s:%d:%d", spec.Key(), int64(spec.SlotLength().Seconds()), slot)
}

func delaysKey(spec *learn.Spec) string {
	return fmt.Sprintf("pitboss:delays:%s:%d", spec.Key(), int64(time.Duration(spec.Window).Seconds()))
}

// delaysFor is how long delays are kept after the last outcome.
const delaysFor = 30 * 24 * time.Hour

// notePending adds a decision from which something is learned for the first time.
func (j *Journal) notePending(ctx context.Context, spec *learn.Spec, l *Lesson) error {
	key, row := pendingKey(spec, spec.Slot(l.At)), l.Rows[0]
	_, err := j.rdb.Pipelined(ctx, func(p redisdb.Pipeliner) error {
		add := func(field string, v int64) {
			if v != 0 {
				p.HIncrBy(ctx, key, l.Action+" "+field, v)
			}
		}
		add("n", row.N)
		add("yy", row.YY)
		for i, v := range row.XX {
			add("xx"+strconv.Itoa(i), v)
		}
		for i, v := range row.XY {
			add("xy"+strconv.Itoa(i), v)
		}
		p.Expire(ctx, key, l.Remember+2*spec.SlotLength())
		return nil
	})
	return failed("pending", err)
}

// noteDelay adds the time between a decision and its outcome.
func (j *Journal) noteDelay(ctx context.Context, spec *learn.Spec, delay time.Duration) error {
	key := delaysKey(spec)
	_, err := j.rdb.Pipelined(ctx, func(p redisdb.Pipeliner) error {
		p.HIncrBy(ctx, key, strconv.Itoa(learn.DelayPart(delay)), 1)
		p.Expire(ctx, key, delaysFor)
		return nil
	})
	return failed("delays", err)
}

// pending returns the delays of outcomes and, by action, the pending decisions.
func (j *Journal) pending(ctx context.Context, spec *learn.Spec, now time.Time) (d learn.Delays, by map[string][]learn.Pending, err error) {
	counts, err := j.rdb.HGetAll(ctx, delaysKey(spec)).Result()
	if err != nil {
		return d, nil, failed("delays", err)
	}
	for part, text := range counts {
		i, err := strconv.Atoi(part)
		n, bad := strconv.ParseInt(text, 10, 64)
		if errors.Join(err, bad) == nil && i >= 0 && i < len(d) {
			d[i] = n
		}
	}
	by = map[string][]learn.Pending{}
	newest := spec.Slot(now)
	for slot := newest; slot >= newest-learn.PendingSlots; slot-- {
		fields, err := j.rdb.HGetAll(ctx, pendingKey(spec, slot)).Result()
		if err != nil {
			return d, nil, failed("pending", err)
		}
		sums := map[string]*learn.Sums{}
		if err := addFields(spec, sums, fields); err != nil {
			return d, nil, failed("pending", err)
		}
		oldest := now.Sub(time.Unix(slot*int64(spec.SlotLength().Seconds()), 0))
		for action, s := range sums {
			by[action] = append(by[action], learn.Pending{Youngest: max(0, oldest-spec.SlotLength()), Oldest: oldest, Sums: s})
		}
	}
	return d, by, nil
}

// LearnedBy is like Learned, but counts a pending decision only for the share of outcomes
// that usually have come at its age.
func (j *Journal) LearnedBy(ctx context.Context, spec *learn.Spec, now time.Time) (map[string]*learn.Sums, error) {
	sums, err := j.Learned(ctx, spec)
	if err != nil {
		return nil, err
	}
	delays, pending, err := j.pending(ctx, spec, now)
	if err != nil {
		return nil, err
	}
	for action, s := range sums {
		sums[action] = spec.Mature(s, pending[action], &delays)
	}
	return sums, nil
}
