package redistest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Replicated is a primary, its replicas, and the sentinels that watch them.
type Replicated struct {
	Primary   *Server
	Replicas  []*Server
	Sentinels []*Server
}

// URL returns the sentinels' addresses for setup.Redis.
func (r *Replicated) URL() string {
	addrs := make([]string, len(r.Sentinels))
	for i, s := range r.Sentinels {
		addrs[i] = s.Addr
	}
	return "redis+sentinel://" + strings.Join(addrs, ",") + "/pitboss"
}

// Sentinel runs a primary with replicas and 3 sentinels until tb ends. A
// primary that is silent for 500 ms is replaced.
func Sentinel(tb testing.TB, replicas int, args ...string) *Replicated {
	tb.Helper()
	r := &Replicated{Primary: New(tb, args...)}
	for range replicas {
		s := New(tb, append([]string{"--replicaof", strings.Replace(r.Primary.Addr, ":", " ", 1),
			"--repl-diskless-sync-delay", "0"}, args...)...)
		r.Replicas = append(r.Replicas, s)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for _, s := range r.Replicas {
		c := redis.NewClient(&redis.Options{Addr: s.Addr})
		defer c.Close()
		if err := until(ctx, func() bool {
			info, err := c.Info(ctx, "replication").Result()
			return err == nil && strings.Contains(info, "master_link_status:up")
		}); err != nil {
			tb.Fatalf("redistest: replica did not connect: %v", err)
		}
	}
	for range 3 {
		r.Sentinels = append(r.Sentinels, newSentinel(tb, r.Primary.Addr))
	}
	for _, s := range r.Sentinels {
		c := redis.NewSentinelClient(&redis.Options{Addr: s.Addr})
		defer c.Close()
		if err := until(ctx, func() bool {
			m, err := c.Master(ctx, "pitboss").Result()
			return err == nil && m["num-other-sentinels"] == "2" && m["num-slaves"] == fmt.Sprint(replicas)
		}); err != nil {
			tb.Fatalf("redistest: sentinels did not find each other: %v", err)
		}
	}
	return r
}

func newSentinel(tb testing.TB, primary string) *Server {
	tb.Helper()
	dir := tb.TempDir()
	conf := filepath.Join(dir, "sentinel.conf")
	text := fmt.Sprintf("sentinel monitor pitboss %s 2\nsentinel down-after-milliseconds pitboss 500\n"+
		"sentinel failover-timeout pitboss 3000\n", strings.Replace(primary, ":", " ", 1))
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		tb.Fatal(err)
	}
	s, err := run(dir, []string{conf, "--sentinel"})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Kill)
	return s
}
