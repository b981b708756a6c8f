package player

import (
	"context"
	"crypto/sha1"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
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

// sender is how a command gets to the server that owns key.
type sender interface {
	send(ctx context.Context, key string, cmd redis.Cmder, write bool) error
}

// link sends commands to Redis: one server, a primary that sentinels name, or
// a cluster.
type link struct {
	rdb      redis.UniversalClient
	replicas int // WAIT for so many after writes; 0: don't
	timeout  time.Duration
	lanes    sync.Map // *redis.Client → *lane
}

// eval runs a script on keys, the first of which decides the server. args
// began with [script.args]. A server that does not know the script yet (a
// restart, a failover, a new node of the cluster) is sent its source.
func (s *script) eval(ctx context.Context, l sender, args []any) (any, error) {
	key := args[3].(string)
	cmd := redis.NewCmd(ctx, args...)
	err := l.send(ctx, key, cmd, true)
	if err != nil && strings.HasPrefix(err.Error(), "NOSCRIPT") {
		args[0], args[1] = "eval", s.src
		cmd = redis.NewCmd(ctx, args...)
		err = l.send(ctx, key, cmd, true)
	}
	if err != nil {
		return nil, err
	}
	return cmd.Val(), nil
}

// send takes cmd to the server that owns key and returns when its reply is
// there and, for a write, the replicas have it.
func (l *link) send(ctx context.Context, key string, cmd redis.Cmder, write bool) error {
	switch c := l.rdb.(type) {
	case *redis.Client:
		return l.lane(c).do(ctx, cmd, write)
	case *redis.ClusterClient:
		return l.sendCluster(ctx, c, key, cmd, write)
	}
	if l.replicas > 0 {
		return fmt.Errorf("player: WAIT is not supported on %T", l.rdb)
	}
	return l.rdb.Process(ctx, cmd)
}

// hops bounds how often a command follows the cluster's redirections.
const hops = 4

// sendCluster chooses the node itself, so that a node that is down holds up
// nobody but its own players, and follows MOVED and ASK itself, so that WAIT
// goes the same way.
func (l *link) sendCluster(ctx context.Context, cc *redis.ClusterClient, key string, cmd redis.Cmder, write bool) error {
	node, err := cc.MasterForKey(ctx, key)
	if err != nil {
		return err
	}
	err = l.lane(node).do(ctx, cmd, write)
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
		err = l.lane(node).once(ctx, cmd, write, ask)
	}
	return err
}

func (l *link) lane(node *redis.Client) *lane {
	if found, ok := l.lanes.Load(node); ok {
		return found.(*lane)
	}
	made := newLane(node, l.replicas, l.timeout)
	kept, _ := l.lanes.LoadOrStore(node, made)
	return kept.(*lane)
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
		return nil, fmt.Errorf("player: cluster node %s is not known yet", addr)
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
