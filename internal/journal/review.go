package journal

import (
	"context"
	"slices"
	"time"

	"pitboss/internal/player"
	"pitboss/internal/redisdb"
)

// Waiting is a decision that waits for a person's review.
type Waiting struct {
	Decision string
	Deadline time.Time
}

// Reviews lists the decisions that wait for a review, the earliest deadline first.
func (j *Journal) Reviews(ctx context.Context) (out []Waiting, err error) {
	ask := func(p redisdb.Pipeliner, s int) *redisdb.ZSliceCmd {
		return p.ZRangeWithScores(ctx, reviewKey(s), 0, -1)
	}
	err = ofShards(ctx, j, "reviews", 0, player.Shards, ask, func(_ int, c *redisdb.ZSliceCmd) error {
		for _, z := range c.Val() {
			id, _ := z.Member.(string)
			out = append(out, Waiting{id, time.Unix(int64(z.Score), 0).UTC()})
		}
		return nil
	})
	slices.SortStableFunc(out, func(a, b Waiting) int { return a.Deadline.Compare(b.Deadline) })
	return out, err
}

// Reviewed removes a decision from the queue and reports whether it was there.
func (j *Journal) Reviewed(ctx context.Context, decision string) (bool, error) {
	shard, err := ShardOf(decision)
	if err != nil {
		return false, err
	}
	n, err := j.rdb.ZRem(ctx, reviewKey(shard), decision).Result()
	return n == 1, failed("reviews", err)
}
