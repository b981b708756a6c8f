package player

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"
)

// at is an event of time ms: its key is its time.
func at(ms int64) Op[ledger] {
	op := remind(uint64(ms))
	op.At = ms
	return op
}

// erase removes the player at whatever version they are.
func erase(st *Store[ledger], id string, moment time.Time) error {
	_, version, err := st.Read(context.Background(), id)
	if err != nil {
		return err
	}
	return st.Erase(context.Background(), id, version, moment)
}

func TestErase(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx, now := context.Background(), time.UnixMilli(1000)
		clock := func() time.Time { return now }
		const id = "a:b"
		st, other := newStore(rdb, Config{Now: clock}), newStore(rdb, Config{Now: clock})
		update := func(st *Store[ledger], op Op[ledger]) Result {
			t.Helper()
			res, err := st.Update(ctx, id, op)
			if err != nil {
				t.Fatal(err)
			}
			return res
		}
		update(st, at(500))
		update(other, at(505))
		_, old := mustRead(t, st, id)
		update(st, at(507))
		if err := st.Erase(ctx, id, old, now); !errors.Is(err, ErrConflict) {
			t.Fatalf("erased although the state has changed since it was looked at: %v", err)
		}
		if err := erase(st, id, now); err != nil {
			t.Fatal(err)
		}
		if err := erase(other, id, now); err != nil { // it may be repeated
			t.Fatal(err)
		}
		t.Run("a mark is all that is left, and it goes, too", func(t *testing.T) {
			keys, err := rdb.Keys(ctx, "*").Result()
			if err != nil || !slices.Equal(keys, []string{StateKey(id)}) {
				t.Fatalf("left in Redis: %v, %v", keys, err)
			}
			b, _ := rdb.Get(ctx, keys[0]).Bytes()
			if ttl := rdb.PTTL(ctx, keys[0]).Val(); len(b) != headSize+markSize || ttl <= 24*time.Hour || ttl > 48*time.Hour {
				t.Fatalf("%d bytes left for %v", len(b), ttl)
			}
			if _, v := mustRead(t, st, id); v != (Version{}) {
				t.Fatalf("read as a player at %v", v)
			}
		})
		t.Run("what is from before has no effect, wherever it comes in", func(t *testing.T) {
			for _, s := range []*Store[ledger]{st, other, newStore(rdb, Config{Now: clock})} {
				for _, ms := range []int64{500, 505, 510, 1000} { // applied before, new, and of the very moment
					if res := update(s, at(ms)); !res.Erased || res.Duplicate || res.Due != 0 {
						t.Fatalf("event of %d: %+v", ms, res)
					}
				}
			}
			if n, err := rdb.Exists(ctx, ReminderKey(Shard(id))).Result(); err != nil || n != 0 {
				t.Fatalf("a reminder came back (%v)", err)
			}
		})
		t.Run("what is from after begins a new player, whom what is from before does not touch", func(t *testing.T) {
			if res := update(other, at(1001)); res.Erased || res.Duplicate {
				t.Fatalf("%+v", res)
			}
			for _, s := range []*Store[ledger]{st, other, newStore(rdb, Config{Now: clock})} {
				if res := update(s, at(505)); !res.Erased {
					t.Fatalf("%+v", res)
				}
				if res := update(s, at(1001)); !res.Duplicate {
					t.Fatalf("%+v", res)
				}
			}
			if l, _ := mustRead(t, st, id); l.total() != 1 || l.applied[1001] != 1 {
				t.Fatalf("%v", l.applied)
			}
			if ttl := rdb.PTTL(ctx, StateKey(id)).Val(); ttl > 0 {
				t.Fatalf("the new player would be gone in %v", ttl)
			}
		})
		t.Run("what must outlive an erasure does", func(t *testing.T) {
			op := at(700)
			op.Keep = true
			if res := update(st, op); res.Erased {
				t.Fatalf("%+v", res)
			}
		})
		t.Run("when its time is over the mark is dropped", func(t *testing.T) {
			now = now.Add(48*time.Hour + time.Second)
			update(st, at(2000))
			if b, _ := rdb.Get(ctx, StateKey(id)).Bytes(); b[8] != layout {
				t.Fatalf("layout %d", b[8])
			}
		})
	})
}

// TestErasureIsFinal: events of a player from before and after the moment of an
// erasure are delivered, each several times, by several instances at once, with
// commands and replies lost, while the erasure happens at some point between.
// In the end exactly the events of after the erasure, and all of them, are in
// the state, whichever came in before or after it; and the reminders are theirs.
func TestErasureIsFinal(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, rdb redis.UniversalClient) {
		rapid.Check(t, func(rt *rapid.T) {
			id := fmt.Sprintf("erased-%d", run.Add(1))
			const moment = 1000
			before := rapid.SliceOfNDistinct(rapid.Int64Range(1, moment), 1, 12, rapid.ID).Draw(rt, "before")
			after := rapid.SliceOfNDistinct(rapid.Int64Range(moment+1, 2*moment), 0, 12, rapid.ID).Draw(rt, "after")
			// What is from after the erasure can only come in after it.
			early := rapid.Permutation(append(before, before...)).Draw(rt, "early")
			late := rapid.Permutation(slices.Concat(before, after, after)).Draw(rt, "late")
			fault := rapid.SampledFrom([]float64{0, 0.1, 0.3}).Draw(rt, "fault")
			cache := rapid.SampledFrom([]int{-1, 64}).Draw(rt, "cache")
			stores := make([]*Store[ledger], 3)
			for i := range stores {
				stores[i] = newStore(rdb, Config{CachePlayers: cache, Now: func() time.Time { return time.UnixMilli(moment) }})
				stores[i].redis = faulty{stores[i].redis, fault, fault}
			}
			deliver(stores, id, early[:len(early)/2])
			var during sync.WaitGroup
			during.Go(func() { deliver(stores, id, early[len(early)/2:]) })
			for erase(stores[0], id, time.UnixMilli(moment)) != nil {
			}
			deliver(stores, id, late)
			during.Wait()
			checkErased(rt, rdb, id, after)
		})
	})
}

// deliver brings each event to some instance, again until it is acknowledged.
func deliver(stores []*Store[ledger], id string, events []int64) {
	var next atomic.Int64
	var work sync.WaitGroup
	for range 4 {
		work.Go(func() {
			for n := next.Add(1) - 1; n < int64(len(events)); n = next.Add(1) - 1 {
				for {
					if _, err := stores[rand.N(len(stores))].Update(context.Background(), id, at(events[n])); err == nil {
						break
					}
				}
			}
		})
	}
	work.Wait()
}

func checkErased(t *rapid.T, rdb redis.UniversalClient, id string, want []int64) {
	l, version, err := newStore(rdb, Config{}).Read(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	for _, ms := range want {
		if l.applied[uint64(ms)] != 1 {
			t.Fatalf("event of %d, after the erasure: applied %d times", ms, l.applied[uint64(ms)])
		}
	}
	if l.total() != len(want) || (version == Version{}) != (len(want) == 0) {
		t.Fatalf("%v at %v, want just %v", l.applied, version, want)
	}
	members, err := rdb.ZRange(context.Background(), ReminderKey(Shard(id)), 0, -1).Result()
	if err != nil {
		t.Fatal(err)
	}
	mine := slices.DeleteFunc(members, func(m string) bool { return !strings.HasSuffix(m, ":"+id) })
	if due := l.latest(); due.IsZero() && len(mine) > 0 || !due.IsZero() && !slices.Equal(mine, []string{Reminder{id, "latest", due}.member()}) {
		t.Fatalf("reminders %v, want the one of %v", mine, due)
	}
}
