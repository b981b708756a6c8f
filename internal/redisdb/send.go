package redisdb

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Script is a Lua script with its digest for EVALSHA.
type Script struct{ src, sha string }

// NewScript prepares a script from its source.
func NewScript(src string) *Script {
	sum := sha1.Sum([]byte(src))
	return &Script{src: src, sha: hex.EncodeToString(sum[:])}
}

// Args returns the first arguments of EVALSHA on keys; the script's own arguments follow.
func (s *Script) Args(keys ...string) []any {
	a := make([]any, 0, 16)
	a = append(a, "evalsha", s.sha, len(keys))
	for _, k := range keys {
		a = append(a, k)
	}
	return a
}

// Sender sends a command to the server that owns key and waits for its reply.
type Sender interface {
	Send(ctx context.Context, key string, cmd Cmder, write bool) error
}

// Runner sends commands to Redis (one server, a primary found through Sentinel, or a cluster)
// and coalesces concurrent ones into pipelines. It is safe for concurrent use.
type Runner struct {
	rdb      Client
	replicas int // WAIT for this many after writes; 0: don't
	timeout  time.Duration
	nodes    sync.Map // *redis.Client → *pipelines
}

// NewRunner returns a Runner on rdb.
func NewRunner(rdb Client) *Runner { return &Runner{rdb: rdb} }

// Wait makes every write wait until that many replicas have it (Redis WAIT), or fail with
// [ErrNotReplicated] after timeout. It must be called before the first command, and returns r.
func (r *Runner) Wait(replicas int, timeout time.Duration) *Runner {
	r.replicas, r.timeout = replicas, timeout
	return r
}

// ErrNotReplicated means that a write is on the primary, but too few replicas confirmed it in
// time. It is worth a retry.
var ErrNotReplicated = errors.New("redis: not confirmed by enough replicas")

// Run evaluates a script. All keys must be in one slot.
func (r *Runner) Run(ctx context.Context, s *Script, keys []string, args ...any) (any, error) {
	return s.Eval(ctx, r, append(s.Args(keys...), args...))
}

// Get reads a key. It returns nil if there is none.
func Get(ctx context.Context, s Sender, key string) ([]byte, error) {
	cmd := redis.NewStringCmd(ctx, "get", key)
	if err := s.Send(ctx, key, cmd, false); err != nil && !errors.Is(err, Nil) {
		return nil, err
	}
	b, _ := cmd.Bytes() // nil with the error Nil for a missing key
	return b, nil
}

// Prefix reads the first n bytes of a key.
func Prefix(ctx context.Context, s Sender, key string, n int) (string, error) {
	cmd := redis.NewStringCmd(ctx, "getrange", key, 0, n-1)
	err := s.Send(ctx, key, cmd, false)
	return cmd.Val(), err
}

// Members reads a whole sorted set.
func Members(ctx context.Context, s Sender, key string) ([]string, error) {
	cmd := redis.NewStringSliceCmd(ctx, "zrange", key, 0, -1)
	err := s.Send(ctx, key, cmd, false)
	return cmd.Val(), err
}

// Write sends a command that writes a key, such as "del".
func Write(ctx context.Context, s Sender, name, key string, args ...any) error {
	return s.Send(ctx, key, redis.NewCmd(ctx, append([]any{name, key}, args...)...), true)
}

// Eval runs a script. args begins with [Script.Args]; the first key determines the server. If
// the server does not know the script yet (after a restart or a failover, or as a new node of
// the cluster), Eval sends the source.
func (s *Script) Eval(ctx context.Context, to Sender, args []any) (any, error) {
	key := args[3].(string)
	cmd := redis.NewCmd(ctx, args...)
	err := to.Send(ctx, key, cmd, true)
	if err != nil && strings.HasPrefix(err.Error(), "NOSCRIPT") {
		args[0], args[1] = "eval", s.src
		cmd = redis.NewCmd(ctx, args...)
		err = to.Send(ctx, key, cmd, true)
	}
	if err != nil {
		return nil, err
	}
	return cmd.Val(), nil
}

// Send sends cmd to the server that owns key. It waits for the reply and, after a write, for the
// replicas.
func (r *Runner) Send(ctx context.Context, key string, cmd Cmder, write bool) error {
	switch c := r.rdb.(type) {
	case *redis.Client:
		return pipelinesTo(ctx, r, c).do(ctx, cmd, write)
	case *redis.ClusterClient:
		return sendCluster(ctx, r, c, key, cmd, write)
	}
	if r.replicas > 0 {
		return fmt.Errorf("redis: WAIT is not supported on %T", r.rdb)
	}
	return r.rdb.Process(ctx, cmd)
}

// What follows takes the library's clients, and so is not a method of Runner: the packages that use
// Runner read its methods. See [Client].

// hops bounds how many redirections of the cluster a command follows.
const hops = 4

// sendCluster chooses the node itself, so that a node that is down delays only its own players,
// and follows MOVED and ASK itself, so that WAIT goes to the same node.
func sendCluster(ctx context.Context, r *Runner, cc *redis.ClusterClient, key string, cmd Cmder, write bool) error {
	node, err := cc.MasterForKey(ctx, key)
	if err != nil {
		return err
	}
	err = pipelinesTo(ctx, r, node).do(ctx, cmd, write)
	if err != nil && !isReply(err) {
		cc.ReloadState(ctx) // the node may be down and its replica have become the primary
		return err
	}
	for hop := 0; hop < hops; hop++ {
		addr, ask, redirected := redirection(err)
		if !redirected {
			break
		}
		if !ask {
			cc.ReloadState(ctx) // in the background, once for all callers
		}
		if node, err = nodeAt(ctx, cc, addr); err != nil {
			return err
		}
		cmd.SetErr(nil)
		err = pipelinesTo(ctx, r, node).once(ctx, cmd, write, ask)
	}
	return err
}

func pipelinesTo(ctx context.Context, r *Runner, node *redis.Client) *pipelines {
	if found, ok := r.nodes.Load(node); ok {
		return found.(*pipelines)
	}
	made := newPipelines(node, r.replicas, r.timeout)
	kept, had := r.nodes.LoadOrStore(node, made)
	if !had {
		forget(ctx, r, node)
	}
	return kept.(*pipelines)
}

// forget drops the pipelines of nodes that have left the cluster, when a new node is added. The
// client closes their connections itself. Pipelines in flight complete. A node that is dropped
// too early, because another caller's view of the cluster was outdated, is added again with its
// next command.
func forget(ctx context.Context, r *Runner, fresh *redis.Client) {
	cc, ok := r.rdb.(*redis.ClusterClient)
	if !ok {
		return
	}
	var now sync.Map
	now.Store(fresh, true)
	if cc.ForEachShard(ctx, func(_ context.Context, node *redis.Client) error { now.Store(node, true); return nil }) != nil {
		return
	}
	r.nodes.Range(func(node, _ any) bool {
		if _, known := now.Load(node); !known {
			r.nodes.Delete(node)
		}
		return true
	})
}

// nodeAt returns the cluster's client of the primary at addr.
func nodeAt(ctx context.Context, cc *redis.ClusterClient, addr string) (*redis.Client, error) {
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
		return nil, fmt.Errorf("redis: cluster node %s is not known yet", addr)
	}
}

// isReply reports whether an error is a reply of Redis, as opposed to one of the connection.
func isReply(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply)
}

// redirection parses "MOVED 1234 host:port" and "ASK 1234 host:port".
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
