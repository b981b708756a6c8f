package journal

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"

	"pitboss/internal/redisdb"
)

// failed wraps an error with the operation. nil stays nil.
func failed(operation string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("journal: %s: %w", operation, err)
}

// get reads a key. It returns nil if there is none.
func (j *Journal) get(ctx context.Context, operation, key string) ([]byte, error) {
	b, err := j.rdb.Get(ctx, key).Bytes()
	if errors.Is(err, redisdb.Nil) {
		return nil, nil
	}
	return b, failed(operation, err)
}

// getJSON reads a key into v. ok is false if there is none.
func (j *Journal) getJSON(ctx context.Context, operation, key string, v any) (ok bool, err error) {
	b, err := j.get(ctx, operation, key)
	if b == nil || err != nil {
		return false, err
	}
	return true, failed(operation, json.Unmarshal(b, v))
}

// setJSON writes v to a key.
func (j *Journal) setJSON(ctx context.Context, operation, key string, v any) error {
	raw, err := json.Marshal(v)
	if err == nil {
		err = j.rdb.Set(ctx, key, raw, 0).Err()
	}
	return failed(operation, err)
}

// recordJSON records v in Ops.
func (j *Journal) recordJSON(ctx context.Context, operation, kind string, at time.Time, v any) error {
	raw, err := json.Marshal(v)
	if err == nil {
		err = j.RecordOps(ctx, &Draft{Kind: kind, Time: at, Open: raw})
	}
	return failed(operation, err)
}

// batchKeys is how many shards one pipeline covers.
const batchKeys = 1024

// ofShards sends the command ask for each shard in [from, to), in pipelines, and calls
// visit with the replies in order.
func ofShards[C any](ctx context.Context, j *Journal, operation string, from, to int, ask func(p redisdb.Pipeliner, shard int) C, visit func(shard int, answer C) error) error {
	for ; from < to; from += batchKeys {
		answers := make([]C, 0, batchKeys)
		_, err := j.rdb.Pipelined(ctx, func(p redisdb.Pipeliner) error {
			for s := from; s < min(from+batchKeys, to); s++ {
				answers = append(answers, ask(p, s))
			}
			return nil
		})
		for i := 0; err == nil && i < len(answers); i++ {
			err = visit(from+i, answers[i])
		}
		if err != nil {
			return failed(operation, err)
		}
	}
	return nil
}
