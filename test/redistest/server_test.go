package redistest

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"
)

func TestServerKeepsItsAppendOnlyFileOverAKill(t *testing.T) {
	t.Parallel()
	s := New(t, "--appendonly", "yes", "--appendfsync", "always")
	c := redis.NewClient(&redis.Options{Addr: s.Addr})
	defer c.Close()
	ctx := context.Background()
	if err := c.Set(ctx, "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	s.Kill()
	if err := c.Get(ctx, "k").Err(); err == nil {
		t.Fatal("a killed server answered")
	}
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Get(ctx, "k").Result(); err != nil || got != "v" {
		t.Fatalf("after restart: %q, %v", got, err)
	}
}

func TestNobodyGetsAPortTwice(t *testing.T) {
	t.Parallel()
	seen := map[int]bool{}
	for range 500 {
		port, err := FreePort()
		if err != nil || seen[port] || port >= 32768 {
			t.Fatalf("port %d, %v", port, err)
		}
		seen[port] = true
	}
}

func TestClusterServesEverySlot(t *testing.T) {
	t.Parallel()
	n := NewCluster(t, 3, 1)
	c := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{n.Servers[4].Addr}})
	defer c.Close()
	ctx := context.Background()
	for _, k := range []string{"{s0000}", "{s0001}", "{s0002}", "{s2047}", "{s4095}"} {
		if err := c.Set(ctx, k, "v", 0).Err(); err != nil {
			t.Fatalf("%s: %v", k, err)
		}
	}
}

func TestSentinelNamesThePrimary(t *testing.T) {
	t.Parallel()
	r := Sentinel(t, 1)
	c := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: "pitboss", SentinelAddrs: []string{r.Sentinels[0].Addr}})
	defer c.Close()
	if err := c.Set(context.Background(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
}
