package player

import (
	"context"
	"errors"
	"sync"

	"github.com/redis/go-redis/v9"
)

// Pipelining is how the commands of different players share connections.
type Pipelining uint8

const (
	// PipelineDefault is the fastest measured: see docs/state.md.
	PipelineDefault Pipelining = iota
	// PipelineOff gives each command a connection of its own for its time.
	PipelineOff
	// PipelineAuto lets go-redis gather concurrent commands into pipelines.
	PipelineAuto
	// PipelineLanes gathers them here: see lanes.
	PipelineLanes
)

func sender(rdb redis.UniversalClient, mode Pipelining) processor {
	switch mode {
	case PipelineAuto:
		if c, ok := rdb.(interface {
			AutoPipelineWithOptions(*redis.AutoPipelineOptions) (*redis.AutoPipeliner, error)
		}); ok {
			ap, err := c.AutoPipelineWithOptions(&redis.AutoPipelineOptions{MaxBatchSize: 200, MaxConcurrentBatches: 4, Unordered: true})
			if err == nil {
				return ap
			}
		}
		return rdb
	case PipelineLanes:
		return newLanes(rdb, 2)
	}
	return rdb
}

// lanes gathers concurrent commands into pipelines without ever waiting for
// more to come: while a lane's pipeline is under way, the commands of others
// collect, and the next free lane sends them together. One caller alone is as
// fast as without; there is no goroutine, for a caller works the lane.
type lanes struct {
	rdb     redis.UniversalClient
	mu      sync.Mutex
	free    int
	waiting []*flight
}

type flight struct {
	cmd  redis.Cmder
	wake chan bool // true: work a lane; false: done
}

var flights = sync.Pool{New: func() any { return &flight{wake: make(chan bool, 1)} }}

func newLanes(rdb redis.UniversalClient, n int) *lanes { return &lanes{rdb: rdb, free: n} }

// laneBatch bounds one pipeline, in commands.
const laneBatch = 64

func (l *lanes) Process(ctx context.Context, cmd redis.Cmder) error {
	f := flights.Get().(*flight)
	defer flights.Put(f)
	f.cmd = cmd
	l.mu.Lock()
	if l.free == 0 {
		l.waiting = append(l.waiting, f)
		l.mu.Unlock()
		if work := <-f.wake; !work {
			return cmd.Err()
		}
		l.mu.Lock()
	} else {
		l.free--
	}
	n := min(len(l.waiting), laneBatch-1)
	batch := append([]*flight(nil), l.waiting[:n]...)
	l.waiting = append(l.waiting[:0], l.waiting[n:]...)
	l.mu.Unlock()
	l.exec(ctx, cmd, batch)
	l.mu.Lock()
	if len(l.waiting) > 0 {
		next := l.waiting[0]
		l.waiting = append(l.waiting[:0], l.waiting[1:]...)
		l.mu.Unlock()
		next.wake <- true
	} else {
		l.free++
		l.mu.Unlock()
	}
	for _, b := range batch {
		b.wake <- false
	}
	return cmd.Err()
}

func (l *lanes) exec(ctx context.Context, first redis.Cmder, batch []*flight) {
	if len(batch) == 0 {
		_ = l.rdb.Process(ctx, first)
		return
	}
	pipe := l.rdb.Pipeline()
	_ = pipe.Process(ctx, first)
	for _, b := range batch {
		_ = pipe.Process(ctx, b.cmd)
	}
	_, err := pipe.Exec(ctx)
	var re redis.Error
	_ = errors.As(err, &re)
}
