package redisdb

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"pitboss/internal/coalesce"
)

const (
	// pipelinesPerNode is how many pipelines may be in flight to one server. While they are,
	// further commands wait and form the next pipeline.
	pipelinesPerNode = 2
	// pipelineMost bounds a pipeline, in commands.
	pipelineMost = 64
)

// pipelines coalesces the concurrent commands for one server.
type pipelines struct {
	node     *redis.Client
	replicas int // WAIT for this many after writes; 0: don't
	timeout  time.Duration
	waiting  *coalesce.Group[*command]
}

// command is a command in progress.
type command struct {
	cmd   redis.Cmder
	write bool  // WAIT, if configured, must cover it
	err   error // of WAIT
}

func newPipelines(node *redis.Client, replicas int, timeout time.Duration) *pipelines {
	return &pipelines{node: node, replicas: replicas, timeout: timeout, waiting: coalesce.New[*command](pipelinesPerNode, pipelineMost)}
}

// do sends cmd and waits for its reply.
func (p *pipelines) do(ctx context.Context, cmd redis.Cmder, write bool) error {
	c := &command{cmd: cmd, write: write}
	p.waiting.Do(c, func(batch []*command) { p.exec(ctx, batch) })
	if err := cmd.Err(); err != nil {
		return err
	}
	return c.err
}

// exec sends the batch over one connection, followed by WAIT, because WAIT covers only the
// writes of its own connection.
func (p *pipelines) exec(ctx context.Context, batch []*command) {
	writes := 0
	for _, c := range batch {
		if c.write && p.replicas > 0 {
			writes++
		}
	}
	if len(batch) == 1 && writes == 0 {
		_ = p.node.Process(ctx, batch[0].cmd)
		return
	}
	// A caller whose context ends must not cancel the commands of the others.
	p.send(context.WithoutCancel(ctx), batch, writes > 0, false)
}

// once sends one redirected command without coalescing.
func (p *pipelines) once(ctx context.Context, cmd redis.Cmder, write, asking bool) error {
	c := &command{cmd: cmd, write: write}
	p.send(ctx, []*command{c}, write && p.replicas > 0, asking)
	if err := cmd.Err(); err != nil {
		return err
	}
	return c.err
}

func (p *pipelines) send(ctx context.Context, batch []*command, waiting, asking bool) {
	batched := p.node.Pipeline()
	if asking {
		batched.Do(ctx, "asking")
	}
	for _, c := range batch {
		_ = batched.Process(ctx, c.cmd)
	}
	wait := redis.NewIntCmd(ctx, "wait", p.replicas, p.timeout.Milliseconds())
	if waiting {
		_ = batched.Process(ctx, wait)
	}
	_, _ = batched.Exec(ctx) // each command has its own error
	if !waiting {
		return
	}
	err := wait.Err()
	switch n := wait.Val(); {
	case err != nil:
		err = fmt.Errorf("%w: %w", ErrNotReplicated, err)
	case n < int64(p.replicas):
		err = fmt.Errorf("%w: %d of %d", ErrNotReplicated, n, p.replicas)
	}
	for _, c := range batch {
		if c.write {
			c.err = err
		}
	}
}
