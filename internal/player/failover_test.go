package player

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"pitboss/test/redistest"
)

// durable is how a Redis must run so that what was acknowledged survives the
// loss of a primary and of its disk's cache.
var durable = []string{"--appendonly", "yes", "--appendfsync", "always"}

func connectCluster(t testing.TB, n *redistest.Nodes) *redis.ClusterClient {
	t.Helper()
	addrs := strings.Split(strings.TrimPrefix(n.URL(), "redis+cluster://"), ",")
	c := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs, MaxRetries: 1})
	t.Cleanup(func() { c.Close() })
	return c
}

// load sends events of many players through two Stores, each until it is
// acknowledged, as a Broker does.
type load struct {
	rdb     redis.UniversalClient
	stores  []*Store[ledger]
	stop    atomic.Bool
	wg      sync.WaitGroup
	mu      sync.Mutex
	acked   map[string][]uint64
	retries atomic.Int64
}

func startLoad(t *testing.T, rdb redis.UniversalClient, cfg Config) *load {
	l := &load{rdb: rdb, acked: map[string][]uint64{}, stores: []*Store[ledger]{newStore(rdb, cfg), newStore(rdb, cfg)}}
	for w := range uint64(8) {
		l.wg.Add(1)
		go func() {
			defer l.wg.Done()
			for n := uint64(0); !l.stop.Load(); n++ {
				l.send(fmt.Sprint("player-", n%40), w<<32|n)
				time.Sleep(time.Millisecond)
			}
		}()
	}
	return l
}

func (l *load) send(player string, key uint64) {
	for try := 0; try < 2000; try++ {
		if _, err := l.stores[(int(key)+try)%2].Update(context.Background(), player, note(key)); err == nil {
			l.mu.Lock()
			l.acked[player] = append(l.acked[player], key)
			l.mu.Unlock()
			return
		}
		l.retries.Add(1)
		time.Sleep(20 * time.Millisecond)
	}
}

func (l *load) count() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, keys := range l.acked {
		n += len(keys)
	}
	return n
}

// progress waits until more events were acknowledged than now.
func (l *load) progress(t *testing.T, more int) {
	t.Helper()
	from := l.count()
	for deadline := time.Now().Add(30 * time.Second); l.count() < from+more; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("stuck: %d events acknowledged within 30 s, want %d", l.count()-from, more)
		}
	}
}

// check ends the load and counts: every acknowledged event is in the state once.
func (l *load) check(t *testing.T) {
	t.Helper()
	l.stop.Store(true)
	l.wg.Wait()
	lost, twice := 0, 0
	for player, keys := range l.acked {
		s, _, err := newStore(l.rdb, Config{}).Read(context.Background(), player)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range keys {
			switch n := s.applied[k]; {
			case n == 0:
				lost++
			case n > 1:
				twice++
			}
		}
	}
	t.Logf("%d events acknowledged, %d retries", l.count(), l.retries.Load())
	if lost > 0 || twice > 0 {
		t.Errorf("%d events lost, %d applied twice", lost, twice)
	}
}

func TestCluster(t *testing.T) {
	t.Parallel()
	nodes := redistest.NewCluster(t, 3, 1)
	rdb := connectCluster(t, nodes)

	t.Run("reminders of all shards", func(t *testing.T) {
		st := newStore(rdb, Config{})
		now := time.Now()
		for i := range 200 {
			setReminder(t, st, fmt.Sprint("r", i), 1, ReminderChange{Name: "a", New: now})
		}
		got := take(t, rdb, now.Add(time.Second), 1000)
		if len(got) != 200 {
			t.Fatalf("%d reminders taken, want 200", len(got))
		}
		if err := NewReminders(rdb).Done(context.Background(), got); err != nil {
			t.Fatal(err)
		}
		if left := take(t, rdb, now.Add(time.Hour), 1000); len(left) != 0 {
			t.Fatalf("%d reminders left", len(left))
		}
	})
	t.Run("a slot moves under load", func(t *testing.T) {
		l := startLoad(t, rdb, Config{WaitReplicas: 1})
		l.progress(t, 200)
		moveSlot(t, nodes, StateKey("player-7"))
		l.progress(t, 200)
		l.check(t)
	})
	t.Run("a restarted primary does not know the scripts", func(t *testing.T) {
		for i := range 3 {
			c := redis.NewClient(&redis.Options{Addr: nodes.Servers[i].Addr})
			defer c.Close()
			if err := c.ScriptFlush(context.Background()).Err(); err != nil {
				t.Fatal(err)
			}
		}
		st := newStore(rdb, Config{})
		for i := range uint64(50) {
			mustUpdate(t, st, fmt.Sprint("flushed-", i), i)
		}
	})
}

// moveSlot moves the slot of key to another primary the way redis-cli --cluster
// reshard does; in between, keys are asked for on both (ASK, then MOVED).
func moveSlot(t *testing.T, n *redistest.Nodes, key string) {
	t.Helper()
	ctx := context.Background()
	var clients []*redis.Client
	for _, s := range n.Servers[:3] {
		c := redis.NewClient(&redis.Options{Addr: s.Addr})
		defer c.Close()
		clients = append(clients, c)
	}
	slot, err := clients[0].ClusterKeySlot(ctx, key).Result()
	if err != nil {
		t.Fatal(err)
	}
	from := int(slot) * 3 / 16384
	to := (from + 1) % 3
	id := func(c *redis.Client) string { s, _ := c.Do(ctx, "CLUSTER", "MYID").Text(); return s }
	do := func(c *redis.Client, args ...any) {
		if err := c.Do(ctx, args...).Err(); err != nil {
			t.Fatalf("%v: %v", args, err)
		}
	}
	do(clients[to], "CLUSTER", "SETSLOT", slot, "IMPORTING", id(clients[from]))
	do(clients[from], "CLUSTER", "SETSLOT", slot, "MIGRATING", id(clients[to]))
	time.Sleep(100 * time.Millisecond)
	host, port, _ := strings.Cut(n.Servers[to].Addr, ":")
	for {
		keys, err := clients[from].ClusterGetKeysInSlot(ctx, int(slot), 10).Result()
		if err != nil {
			t.Fatal(err)
		}
		if len(keys) == 0 {
			break
		}
		args := []any{"MIGRATE", host, port, "", 0, 5000, "KEYS"}
		for _, k := range keys {
			args = append(args, k)
		}
		do(clients[from], args...)
	}
	time.Sleep(100 * time.Millisecond)
	for _, c := range []*redis.Client{clients[to], clients[from], clients[3-from-to]} {
		do(c, "CLUSTER", "SETSLOT", slot, "NODE", id(clients[to]))
	}
}

func TestKilledClusterPrimaryLosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	nodes := redistest.NewCluster(t, 3, 1, durable...)
	l := startLoad(t, connectCluster(t, nodes), Config{WaitReplicas: 1})
	l.progress(t, 200)
	for i := range 2 { // its slots' owner both times
		victim := nodes.Servers[[]int{1, 4}[i]]
		victim.Kill()
		time.Sleep(1500 * time.Millisecond) // the replica is voted primary; alone, it cannot WAIT
		if err := victim.Restart(); err != nil {
			t.Fatal(err)
		}
		l.progress(t, 300)
	}
	l.check(t)
	if l.retries.Load() == 0 {
		t.Error("no event had to be retried: the failover was not felt")
	}
}

func TestKilledSentinelPrimaryLosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	r := redistest.Sentinel(t, 2, durable...)
	var addrs []string
	for _, s := range r.Sentinels {
		addrs = append(addrs, s.Addr)
	}
	rdb := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: "pitboss", SentinelAddrs: addrs, MaxRetries: 1})
	t.Cleanup(func() { rdb.Close() })
	l := startLoad(t, rdb, Config{WaitReplicas: 1})
	l.progress(t, 200)
	r.Primary.Kill()
	time.Sleep(time.Second)
	l.progress(t, 300)
	l.check(t)
	if l.retries.Load() == 0 {
		t.Error("no event had to be retried: the failover was not felt")
	}
}

func TestRedisDownIsRetryableAndMendsItself(t *testing.T) {
	t.Parallel()
	srv := redistest.New(t, durable...)
	st := newStore(connect(t, srv.URL()), Config{})
	mustUpdate(t, st, "p", 1)
	srv.Kill()
	if _, err := st.Update(context.Background(), "p", note(2)); err == nil {
		t.Fatal("acknowledged without Redis")
	}
	if err := srv.Restart(); err != nil {
		t.Fatal(err)
	}
	mustUpdate(t, st, "p", 2)
	if l, _ := mustRead(t, st, "p"); l.total() != 2 {
		t.Fatalf("state %v, want 2 events", l.applied)
	}
}

func TestUnreplicatedCommitIsNeverAcknowledged(t *testing.T) {
	t.Parallel()
	srv := redistest.New(t)
	st := newStore(connect(t, srv.URL()), Config{WaitReplicas: 1, WaitTimeout: 10 * time.Millisecond})
	for _, delivery := range []string{"first", "redelivered"} {
		if _, err := st.Update(context.Background(), "p", note(1)); !errors.Is(err, ErrNotReplicated) {
			t.Fatalf("%s: %v, want ErrNotReplicated", delivery, err)
		}
	}
	if l, _ := mustRead(t, st, "p"); l.total() != 1 {
		t.Fatalf("state %v, want the event once", l.applied)
	}
	replica := redistest.New(t, "--replicaof", strings.Replace(srv.Addr, ":", " ", 1), "--repl-diskless-sync-delay", "0")
	defer replica.Kill()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		res, err := st.Update(context.Background(), "p", note(1))
		if err == nil && res.Duplicate {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("with a replica: %+v, %v", res, err)
		}
	}
}

func TestRedeliveryOfALostCommitIsApplied(t *testing.T) {
	t.Parallel()
	srv := redistest.New(t) // keeps nothing over a restart, as a failover without WAIT may
	st := newStore(connect(t, srv.URL()), Config{})
	mustUpdate(t, st, "p", 1)
	mustUpdate(t, st, "p", 2)
	srv.Kill()
	if err := srv.Restart(); err != nil {
		t.Fatal(err)
	}
	if res := mustUpdate(t, st, "p", 2); res.Duplicate {
		t.Fatal("called a duplicate, but Redis does not have it")
	}
	if l, _ := mustRead(t, st, "p"); l.total() != 1 || l.applied[2] != 1 {
		t.Fatalf("state %v: only what was delivered since can be there", l.applied)
	}
}
