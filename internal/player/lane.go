package player

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// lanesPerNode is how many pipelines may be under way to one server: while
	// one is worked on, the next collects.
	lanesPerNode = 2
	// laneBatch bounds a pipeline, in commands.
	laneBatch = 64
)

// lane gathers the concurrent commands for one server into pipelines, without
// ever waiting for more to come: while its pipelines are under way, commands
// collect, and the first of them carries the others along. One caller alone is
// as fast as without, and there are no goroutines of its own.
type lane struct {
	node     *redis.Client
	replicas int // WAIT for so many after writes; 0: don't
	timeout  time.Duration

	mu      sync.Mutex
	free    int
	waiting []*flight
}

// flight is one command on its way.
type flight struct {
	cmd   redis.Cmder
	write bool      // WAIT, if so configured, is for this one too
	err   error     // of WAIT
	wake  chan bool // true: carry the next pipeline; false: done
}

var flights = sync.Pool{New: func() any { return &flight{wake: make(chan bool, 1)} }}

// do sends cmd and returns when its reply is there.
func (l *lane) do(ctx context.Context, cmd redis.Cmder, write bool) error {
	f := flights.Get().(*flight)
	defer flights.Put(f)
	f.cmd, f.write, f.err = cmd, write, nil
	if l.enter(f) {
		batch := l.batch(f)
		l.exec(ctx, batch)
		l.exit()
		for _, other := range batch[1:] {
			other.wake <- false
		}
	}
	f.cmd = nil
	if err := cmd.Err(); err != nil {
		return err
	}
	return f.err
}

// enter returns true when f is to carry a pipeline, false when f was carried.
func (l *lane) enter(f *flight) bool {
	l.mu.Lock()
	if l.free > 0 {
		l.free--
		l.mu.Unlock()
		return true
	}
	l.waiting = append(l.waiting, f)
	l.mu.Unlock()
	return <-f.wake
}

func (l *lane) batch(first *flight) []*flight {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := min(len(l.waiting), laneBatch-1)
	batch := make([]*flight, 0, n+1)
	batch = append(append(batch, first), l.waiting[:n]...)
	l.waiting = append(l.waiting[:0], l.waiting[n:]...)
	return batch
}

func (l *lane) exit() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		l.free++
		return
	}
	next := l.waiting[0]
	l.waiting = append(l.waiting[:0], l.waiting[1:]...)
	next.wake <- true
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
