package redistest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Nodes is a Redis Cluster of real processes. At the start the first half of Servers are
// primaries and the second half are their replicas.
type Nodes struct{ Servers []*Server }

// URL returns the cluster's address for setup.Redis.
func (n *Nodes) URL() string {
	addrs := make([]string, len(n.Servers))
	for i, s := range n.Servers {
		addrs[i] = s.Addr
	}
	return "redis+cluster://" + strings.Join(addrs, ",")
}

// Cluster runs a Redis Cluster of 6 processes (3 primaries with a replica
// each) until tb ends and returns its URL.
func Cluster(tb testing.TB, args ...string) (url string) {
	tb.Helper()
	return NewCluster(tb, 3, 1, args...).URL()
}

// NewCluster runs a Redis Cluster of primaries, each with replicas, until tb ends. A node
// counts as dead after 1 s.
func NewCluster(tb testing.TB, primaries, replicas int, args ...string) *Nodes {
	tb.Helper()
	n := &Nodes{}
	for i := range primaries * (1 + replicas) {
		s, err := startNode(filepath.Join(tb.TempDir(), fmt.Sprint(i)), args)
		if errors.Is(err, ErrNoServer) {
			tb.Skip("redis-server is not installed: scripts/deps.sh installs it")
		}
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(s.Kill)
		n.Servers = append(n.Servers, s)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	if err := n.form(ctx, primaries); err != nil {
		tb.Fatal(err)
	}
	return n
}

func startNode(dir string, args []string) (*Server, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("redistest: %w", err)
	}
	bus, err := FreePort()
	if err != nil {
		return nil, err
	}
	args = append([]string{"--cluster-enabled", "yes", "--cluster-port", fmt.Sprint(bus),
		"--cluster-node-timeout", "1000", "--cluster-replica-validity-factor", "0",
		"--repl-diskless-sync-delay", "0"}, args...)
	return Run(dir, args...)
}

// form joins the nodes, assigns the 16384 slots and the replicas, and waits until all nodes
// agree.
func (n *Nodes) form(ctx context.Context, primaries int) error {
	var clients []*redis.Client
	for _, s := range n.Servers {
		c := redis.NewClient(&redis.Options{Addr: s.Addr})
		defer c.Close()
		clients = append(clients, c)
	}
	for i, c := range clients {
		if err := c.Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", i+1).Err(); err != nil {
			return fmt.Errorf("redistest: epoch: %w", err)
		}
		host, port, _ := strings.Cut(n.Servers[0].Addr, ":")
		bus, err := clients[0].ConfigGet(ctx, "cluster-port").Result()
		if err != nil {
			return fmt.Errorf("redistest: bus port: %w", err)
		}
		if i > 0 {
			if err := c.Do(ctx, "CLUSTER", "MEET", host, port, bus["cluster-port"]).Err(); err != nil {
				return fmt.Errorf("redistest: meet: %w", err)
			}
		}
	}
	for i, c := range clients[:primaries] {
		from, to := i*16384/primaries, (i+1)*16384/primaries-1
		if err := c.Do(ctx, "CLUSTER", "ADDSLOTSRANGE", from, to).Err(); err != nil {
			return fmt.Errorf("redistest: slots: %w", err)
		}
	}
	for i, c := range clients[primaries:] {
		id, err := clients[i%primaries].Do(ctx, "CLUSTER", "MYID").Text()
		if err != nil {
			return fmt.Errorf("redistest: id: %w", err)
		}
		// This fails until the replica knows its primary.
		if err := until(ctx, func() bool { return c.Do(ctx, "CLUSTER", "REPLICATE", id).Err() == nil }); err != nil {
			return fmt.Errorf("redistest: replicate: %w", err)
		}
	}
	for i, c := range clients {
		if err := until(ctx, func() bool { return healthy(ctx, c, i >= primaries, len(clients)) }); err != nil {
			return fmt.Errorf("redistest: cluster did not form: %w", err)
		}
	}
	return nil
}

func healthy(ctx context.Context, c *redis.Client, replica bool, nodes int) bool {
	info, err := c.ClusterInfo(ctx).Result()
	if err != nil || !strings.Contains(info, "cluster_state:ok") ||
		!strings.Contains(info, fmt.Sprintf("cluster_known_nodes:%d\r", nodes)) {
		return false
	}
	if !replica {
		return true
	}
	repl, err := c.Info(ctx, "replication").Result()
	return err == nil && strings.Contains(repl, "master_link_status:up")
}

func until(ctx context.Context, ok func() bool) error {
	for !ok() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}
