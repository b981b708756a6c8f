package journal

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"pitboss/internal/player"
	"pitboss/test/redistest"
)

// On a Redis Cluster, state, caps, entry and head of a shard lie in one slot:
// many instances that decide at once about players of many shards leave whole
// chains without a gap, and every entry is on a replica when it is acknowledged.
func TestConcurrentDecisionsOnACluster(t *testing.T) {
	t.Parallel()
	nodes := redistest.NewCluster(t, 3, 1)
	rdb := client(t, nodes.URL())
	const instances, players, each = 4, 24, 10
	ids := append(neighbours(4), make([]string, players-4)...) // four share a shard
	for i := 4; i < players; i++ {
		ids[i] = fmt.Sprintf("someone-%d", i)
	}
	var wg sync.WaitGroup
	for n := range instances {
		j := New(rdb, 100).WaitReplicas(1, 10*time.Second)
		for i, id := range ids {
			wg.Go(func() {
				for k := range each {
					err := ErrConflict
					for tries := 0; errors.Is(err, ErrConflict) && tries < 100; tries++ { // as the Broker does
						err = once(t, j, id, fmt.Sprint(n, i, k))
					}
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
	}
	wg.Wait()
	for _, id := range ids {
		if c, err := New(rdb, 1).Contacts(t.Context(), id); err != nil || len(c) != instances*each {
			t.Errorf("%s: %d contacts, want %d (%v)", id, len(c), instances*each, err)
		}
	}
	v, err := New(rdb, 1).Verify(t.Context(), Segments{})
	if err != nil || len(v.Findings) > 0 || v.Entries != instances*players*each {
		t.Fatalf("%+v %v", v, err)
	}
}

// once records a decision that rests on the contacts of before.
func once(t *testing.T, j *Journal, id, decision string) error {
	_, err := j.Record(t.Context(), id, Anew, func(v View) (*Draft, error) {
		return &Draft{Kind: KindDecision, Time: noon, Contacts: also(v, "x"),
			Open: fmt.Appendf(nil, `{"decision":"%s"}`, DecisionID(id, decision)), Personal: []byte(`{}`)}, nil
	})
	return err
}

// Without the replica the entry is made but not acknowledged, and what is
// decided again on the redelivery is not acknowledged either.
func TestAnEntryWaitsForItsReplica(t *testing.T) {
	t.Parallel()
	rdb := client(t, redistest.Start(t)) // no replica at all
	j := New(rdb, 10).WaitReplicas(1, 20*time.Millisecond)
	record := func() error {
		_, err := j.Record(t.Context(), "alice", Anew, func(v View) (*Draft, error) {
			if strings.Contains(string(v.Contacts.Append(nil)), "x") {
				return nil, nil // made before
			}
			return &Draft{Kind: KindDecision, Time: noon, Contacts: Bytes("x"), Open: []byte(`{}`), Personal: []byte(`{}`)}, nil
		})
		return err
	}
	for range 3 {
		if err := record(); !errors.Is(err, player.ErrNotReplicated) {
			t.Fatalf("%v", err)
		}
	}
	if seq, _, err := j.Head(t.Context(), player.Shard("alice")); err != nil || seq != 1 {
		t.Fatalf("entry %d, %v", seq, err)
	}
}

func client(t *testing.T, url string) redis.UniversalClient {
	t.Helper()
	var rdb redis.UniversalClient
	if hosts, ok := strings.CutPrefix(url, "redis+cluster://"); ok {
		rdb = redis.NewClusterClient(&redis.ClusterOptions{Addrs: strings.Split(hosts, ",")})
	} else {
		opt, err := redis.ParseURL(url)
		if err != nil {
			t.Fatal(err)
		}
		rdb = redis.NewClient(opt)
	}
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}
