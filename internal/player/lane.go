package player

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"pitboss/internal/coalesce"
)

const (
	// lanesPerNode is how many pipelines may be under way to one server: while
	// one is worked on, the next collects.
	lanesPerNode = 2
	// laneBatch bounds a pipeline, in commands.
	laneBatch = 64
)

// lane gathers the concurrent commands for one server into pipelines.
type lane struct {
	node     *redis.Client
	replicas int // WAIT for so many after writes; 0: don't
	timeout  time.Duration
	flights  *coalesce.Group[*flight]
}

// flight is one command on its way.
type flight struct {
	cmd   redis.Cmder
	write bool  // WAIT, if so configured, is for this one too
	err   error // of WAIT
}

func newLane(node *redis.Client, replicas int, timeout time.Duration) *lane {
	return &lane{node: node, replicas: replicas, timeout: timeout, flights: coalesce.New[*flight](lanesPerNode, laneBatch, 0)}
}

// do sends cmd and returns when its reply is there.
func (l *lane) do(ctx context.Context, cmd redis.Cmder, write bool) error {
	f := &flight{cmd: cmd, write: write}
	l.flights.Do(f, func(batch []*flight) { l.exec(ctx, batch) })
	if err := cmd.Err(); err != nil {
		return err
	}
	return f.err
}

// exec sends the batch down one connection, WAIT behind it: WAIT covers the
// writes of its own connection.
func (l *lane) exec(ctx context.Context, batch []*flight) {
	writes := 0
	for _, f := range batch {
		if f.write && l.replicas > 0 {
			writes++
		}
	}
	if len(batch) == 1 && writes == 0 {
		_ = l.node.Process(ctx, batch[0].cmd)
		return
	}
	// One caller that gives up must not take the others' commands along.
	l.pipe(context.WithoutCancel(ctx), batch, writes > 0, false)
}

// once sends one redirected command, outside the queue.
func (l *lane) once(ctx context.Context, cmd redis.Cmder, write, asking bool) error {
	f := &flight{cmd: cmd, write: write}
	l.pipe(ctx, []*flight{f}, write && l.replicas > 0, asking)
	if err := cmd.Err(); err != nil {
		return err
	}
	return f.err
}

func (l *lane) pipe(ctx context.Context, batch []*flight, waiting, asking bool) {
	pipe := l.node.Pipeline()
	if asking {
		pipe.Do(ctx, "asking")
	}
	for _, f := range batch {
		_ = pipe.Process(ctx, f.cmd)
	}
	wait := redis.NewIntCmd(ctx, "wait", l.replicas, l.timeout.Milliseconds())
	if waiting {
		_ = pipe.Process(ctx, wait)
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	if !waiting {
		return
	}
	err := wait.Err()
	switch n := wait.Val(); {
	case err != nil:
		err = fmt.Errorf("%w: %w", ErrNotReplicated, err)
	case n < int64(l.replicas):
		err = fmt.Errorf("%w: %d of %d", ErrNotReplicated, n, l.replicas)
	}
	for _, f := range batch {
		if f.write {
			f.err = err
		}
	}
}
