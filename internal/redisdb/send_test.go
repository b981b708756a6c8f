package redisdb

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"pitboss/test/redistest"
)

// A cluster whose nodes are replaced one after the other, as pods are, leaves
// nothing behind of those that are gone.
func TestReplacedNodesAreForgotten(t *testing.T) {
	t.Parallel()
	var addr atomic.Value
	addr.Store(redistest.New(t).Addr)
	cc := redis.NewClusterClient(&redis.ClusterOptions{ClusterSlots: func(context.Context) ([]redis.ClusterSlot, error) {
		return []redis.ClusterSlot{{Start: 0, End: 16383, Nodes: []redis.ClusterNode{{Addr: addr.Load().(string)}}}}, nil
	}})
	t.Cleanup(func() { cc.Close() })
	r := NewRunner(cc)
	for n := range 4 {
		server := redistest.New(t)
		addr.Store(server.Addr)
		cc.ReloadState(t.Context())
		direct := redis.NewClient(&redis.Options{Addr: server.Addr})
		t.Cleanup(func() { direct.Close() })
		waitFor(t, func() bool { // until the client knows of the new node
			if err := r.Send(t.Context(), "key", redis.NewStatusCmd(t.Context(), "set", "key", fmt.Sprint(n)), true); err != nil {
				t.Fatal(err)
			}
			return direct.Get(t.Context(), "key").Val() == fmt.Sprint(n)
		})
		kept := 0
		r.nodes.Range(func(node, _ any) bool {
			kept++
			if got := node.(*redis.Client).Options().Addr; !strings.HasSuffix(server.Addr, got) { // the client may leave the loopback address out
				t.Errorf("after %d replacements %s is still known, the node is %s", n+1, got, server.Addr)
			}
			return true
		})
		if kept != 1 {
			t.Errorf("after %d replacements %d nodes are known", n+1, kept)
		}
	}
}
