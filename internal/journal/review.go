package journal

import (
	"context"
	"fmt"
	"sort"
	"time"

	"pitboss/internal/player"
	"pitboss/internal/redisdb"
)

// Waiting is a decision that a person must look at.
type Waiting struct {
	Decision string
	Deadline time.Time
}

// Reviews lists the decisions that wait for a person, the most urgent first.
func (j *Journal) Reviews(ctx context.Context) ([]Waiting, error) {
	const batch = 512
	var out []Waiting
	for from := 0; from < player.Shards; from += batch {
		var cmds []*redisdb.ZSliceCmd
		_, err := j.rdb.Pipelined(ctx, func(p redisdb.Pipeliner) error {
			for s := from; s < from+batch; s++ {
				cmds = append(cmds, p.ZRangeWithScores(ctx, ReviewKey(s), 0, -1))
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("journal: reviews: %w", err)
		}
		for _, c := range cmds {
			for _, z := range c.Val() {
				id, _ := z.Member.(string)
				out = append(out, Waiting{id, time.Unix(int64(z.Score), 0).UTC()})
			}
		}
	}
	sort.Slice(out, func(a, b int) bool { return out[a].Deadline.Before(out[b].Deadline) })
	return out, nil
}

// Reviewed takes a decision off the queue; it reports whether it was on it.
func (j *Journal) Reviewed(ctx context.Context, decision string) (bool, error) {
	shard, err := ShardOf(decision)
	if err != nil {
		return false, err
	}
	n, err := j.rdb.ZRem(ctx, ReviewKey(shard), decision).Result()
	if err != nil {
		return false, fmt.Errorf("journal: reviews: %w", err)
	}
	return n == 1, nil
}
