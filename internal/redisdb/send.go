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

// Script is a Lua script and the digest EVALSHA knows it by.
type Script struct{ src, sha string }

// NewScript prepares a script from its source.
func NewScript(src string) *Script {
	sum := sha1.Sum([]byte(src))
	return &Script{src: src, sha: hex.EncodeToString(sum[:])}
}

// Args begins the arguments of EVALSHA on keys.
func (s *Script) Args(keys ...string) []any {
	a := make([]any, 0, 16)
	a = append(a, "evalsha", s.sha, len(keys))
	for _, k := range keys {
		a = append(a, k)
	}
	return a
}

// Sender takes a command to the server that owns key and returns when its reply
// is there.
type Sender interface {
	Send(ctx context.Context, key string, cmd Cmder, write bool) error
}

// Runner sends commands to Redis (one server, a primary that sentinels name, or a
// cluster) and coalesces concurrent ones into pipelines. It is safe for
// concurrent use.
type Runner struct {
	rdb      Client
	replicas int // WAIT for so many after writes; 0: don't
	timeout  time.Duration
	nodes    sync.Map // *redis.Client → *pipelines
}

// NewRunner returns a Runner on rdb.
func NewRunner(rdb Client) *Runner { return &Runner{rdb: rdb} }

// Wait makes every write wait until so many replicas have it (Redis WAIT), or
// fail with [ErrNotReplicated] after timeout. To be called before the first
// command. It returns r.
func (r *Runner) Wait(replicas int, timeout time.Duration) *Runner {
	r.replicas, r.timeout = replicas, timeout
	return r
}

// ErrNotReplicated: a write is on the primary, but fewer replicas than asked for
// confirmed it in time. It is worth a retry.
var ErrNotReplicated = errors.New("redis: not confirmed by enough replicas")

// Run evaluates the script; all keys are in one slot.
func (r *Runner) Run(ctx context.Context, s *Script, keys []string, args ...any) (any, error) {
	return s.Eval(ctx, r, append(s.Args(keys...), args...))
}

// Get reads a key; no bytes where there is none.
func Get(ctx context.Context, s Sender, key string) ([]byte, error) {
	cmd := redis.NewStringCmd(ctx, "get", key)
	if err := s.Send(ctx, key, cmd, false); err != nil && !errors.Is(err, Nil) {
		return nil, err
	}
	b, _ := cmd.Bytes() // a missing key is Nil and no bytes
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

// Write sends a command that writes, such as "del", and its key.
func Write(ctx context.Context, s Sender, name, key string, args ...any) error {
	return s.Send(ctx, key, redis.NewCmd(ctx, append([]any{name, key}, args...)...), true)
}

// Eval runs a script on keys, the first of which decides the server. args
// began with [Script.Args]. A server that does not know the script yet (a
// restart, a failover, a new node of the cluster) is sent its source.
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

// Send takes cmd to the server that owns key and returns when its reply is
// there and, for a write, the replicas have it.
func (r *Runner) Send(ctx context.Context, key string, cmd Cmder, write bool) error {
	switch c := r.rdb.(type) {
	case *redis.Client:
		return r.pipelines(ctx, c).do(ctx, cmd, write)
	case *redis.ClusterClient:
		return r.sendCluster(ctx, c, key, cmd, write)
	}
	if r.replicas > 0 {
		return fmt.Errorf("redis: WAIT is not supported on %T", r.rdb)
	}
	return r.rdb.Process(ctx, cmd)
}

// hops bounds how often a command follows the cluster's redirections.
const hops = 4

// sendCluster chooses the node itself, so that a node that is down holds up
// nobody but its own players, and follows MOVED and ASK itself, so that WAIT
// goes the same way.
func (r *Runner) sendCluster(ctx context.Context, cc *redis.ClusterClient, key string, cmd Cmder, write bool) error {
	node, err := cc.MasterForKey(ctx, key)
	if err != nil {
		return err
	}
	err = r.pipelines(ctx, node).do(ctx, cmd, write)
	if err != nil && !isReply(err) {
		cc.ReloadState(ctx) // the node may be gone, and its replica be the primary now
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
		err = r.pipelines(ctx, node).once(ctx, cmd, write, ask)
	}
	return err
}

func (r *Runner) pipelines(ctx context.Context, node *redis.Client) *pipelines {
	if found, ok := r.nodes.Load(node); ok {
		return found.(*pipelines)
	}
	made := newPipelines(node, r.replicas, r.timeout)
	kept, had := r.nodes.LoadOrStore(node, made)
	if !had {
		r.forget(ctx, node)
	}
	return kept.(*pipelines)
}

// forget drops the pipelines of nodes that the cluster does not have any more, as a
// new node comes in. The client closes their connections by itself. A pipeline that
// is under way ends undisturbed; a node dropped too early, by what another caller
// knew of the cluster, is added again with its next command.
func (r *Runner) forget(ctx context.Context, fresh *redis.Client) {
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

// nodeAt is the cluster's client of the primary at addr.
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

// isReply tells an error that Redis replied from one of the connection.
func isReply(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply)
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
