package player

import (
	"context"
	"crypto/sha1"
	_ "embed"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

//go:embed lua/commit.lua
var commitLua string

//go:embed lua/take.lua
var takeLua string

//go:embed lua/erase.lua
var eraseLua string

//go:embed lua/touch.lua
var touchLua string

var (
	commitScript = newScript(commitLua)
	takeScript   = newScript(takeLua)
	eraseScript  = newScript(eraseLua)
	touchScript  = newScript(touchLua)
)

// script is a Lua script and the digest EVALSHA knows it by.
type script struct{ src, sha string }

func newScript(src string) *script {
	sum := sha1.Sum([]byte(src))
	return &script{src: src, sha: hex.EncodeToString(sum[:])}
}

// args begins the arguments of EVALSHA on keys.
func (s *script) args(keys ...string) []any {
	a := make([]any, 0, 16)
	a = append(a, "evalsha", s.sha, len(keys))
	for _, k := range keys {
		a = append(a, k)
	}
	return a
}

// processor is what sends one command and waits for its reply: a client or
// an AutoPipeliner.
type processor interface {
	Process(ctx context.Context, cmd redis.Cmder) error
}

// link sends commands to Redis.
type link struct {
	rdb      redis.UniversalClient
	send     processor
	replicas int // WAIT for so many; 0: don't
	timeout  time.Duration
}

// eval runs a script whose arguments args began with [script.args]. A server
// that does not know the script yet (a restart, a failover, a new node of the
// cluster) is sent its source.
func (l *link) eval(ctx context.Context, s *script, args []any) (any, error) {
	process := l.process
	if l.replicas > 0 {
		process = l.processAndWait
	}
	cmd := redis.NewCmd(ctx, args...)
	err := process(ctx, cmd)
	if err != nil && strings.HasPrefix(err.Error(), "NOSCRIPT") {
		args[0], args[1] = "eval", s.src
		cmd = redis.NewCmd(ctx, args...)
		err = process(ctx, cmd)
	}
	if err != nil {
		return nil, err
	}
	return cmd.Val(), nil
}

func (l *link) process(ctx context.Context, cmd redis.Cmder) error {
	return l.send.Process(ctx, cmd)
}

// processAndWait sends cmd and WAIT down one connection, for WAIT covers the
// writes of its own connection only. In a cluster that means to choose the
// node here, and so to follow redirections here.
func (l *link) processAndWait(ctx context.Context, cmd redis.Cmder) error {
	node, err := l.node(ctx, cmd)
	asking := false
	for hop := 0; err == nil; hop++ {
		err = l.pipelineWait(ctx, node, cmd, asking)
		addr, ask, redirected := redirection(err)
		if !redirected || hop == 3 {
			return err
		}
		if cc, ok := l.rdb.(*redis.ClusterClient); ok && !ask {
			cc.ReloadState(ctx)
		}
		node, err = l.nodeAt(ctx, addr)
		asking = ask
	}
	return err
}

func (l *link) pipelineWait(ctx context.Context, node *redis.Client, cmd redis.Cmder, asking bool) error {
	cmd.SetErr(nil)
	pipe := node.Pipeline()
	if asking {
		pipe.Do(ctx, "asking")
	}
	_ = pipe.Process(ctx, cmd)
	wait := redis.NewIntCmd(ctx, "wait", l.replicas, l.timeout.Milliseconds())
	_ = pipe.Process(ctx, wait)
	_, _ = pipe.Exec(ctx)
	if err := cmd.Err(); err != nil {
		return err
	}
	n, err := wait.Result()
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrNotReplicated, err)
	case n < int64(l.replicas):
		return fmt.Errorf("%w: %d of %d", ErrNotReplicated, n, l.replicas)
	}
	return nil
}

// node is the client of the server that owns the command's first key.
func (l *link) node(ctx context.Context, cmd redis.Cmder) (*redis.Client, error) {
	switch c := l.rdb.(type) {
	case *redis.ClusterClient:
		return c.MasterForKey(ctx, cmd.Args()[3].(string))
	case *redis.Client:
		return c, nil
	}
	return nil, fmt.Errorf("player: WAIT is not supported on %T", l.rdb)
}

// nodeAt is the cluster's client of the primary at addr.
func (l *link) nodeAt(ctx context.Context, addr string) (*redis.Client, error) {
	cc, ok := l.rdb.(*redis.ClusterClient)
	if !ok {
		return nil, fmt.Errorf("player: redirected to %s, but REDIS_URL does not say redis+cluster", addr)
	}
	found := make(chan *redis.Client, 1)
	_ = cc.ForEachMaster(ctx, func(_ context.Context, c *redis.Client) error {
		if c.Options().Addr == addr {
			select {
			case found <- c:
			default:
			}
		}
		return nil
	})
	select {
	case c := <-found:
		return c, nil
	default:
		return nil, fmt.Errorf("player: cluster node %s is not known yet", addr)
	}
}

// redirection takes "MOVED 1234 host:port" and "ASK 1234 host:port" apart.
func redirection(err error) (addr string, ask, ok bool) {
	if err == nil {
		return "", false, false
	}
	f := strings.Fields(err.Error())
	if len(f) != 3 || (f[0] != "MOVED" && f[0] != "ASK") {
		return "", false, false
	}
	return f[2], f[0] == "ASK", true
}
