package player

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"pitboss/test/redistest"
)

// backends run every test of the suite: real Redis, and the miniredis that
// `make run` embeds.
func backends(t *testing.T, test func(t *testing.T, rdb redis.UniversalClient)) {
	t.Run("redis-server", func(t *testing.T) {
		t.Parallel()
		test(t, connect(t, redistest.Start(t)))
	})
	t.Run("miniredis", func(t *testing.T) {
		t.Parallel()
		test(t, connect(t, "redis://"+miniredis.RunT(t).Addr()))
	})
}

func connect(t testing.TB, url string) redis.UniversalClient {
	t.Helper()
	opt, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	opt.MaxRetries = 1 // as setup.Redis has it
	c := redis.NewClient(opt)
	t.Cleanup(func() { c.Close() })
	return c
}

func newStore(rdb redis.UniversalClient, cfg Config) *Store[ledger] {
	return NewStore(rdb, ledgerCodec{}, cfg)
}

func mustUpdate(t *testing.T, st *Store[ledger], player string, key uint64) Result {
	t.Helper()
	res, err := st.Update(context.Background(), player, note(key))
	if err != nil {
		t.Fatalf("event %d: %v", key, err)
	}
	return res
}

func mustRead(t *testing.T, st *Store[ledger], player string) (*ledger, Version) {
	t.Helper()
	l, v, err := st.Read(context.Background(), player)
	if err != nil {
		t.Fatal(err)
	}
	return l, v
}

func TestUpdate(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Run("applies an event once, however often it comes", func(t *testing.T) {
			st := newStore(rdb, Config{})
			first := mustUpdate(t, st, "once", 3)
			again := mustUpdate(t, st, "once", 3)
			elsewhere := mustUpdate(t, newStore(rdb, Config{}), "once", 3)
			if first.Duplicate || !again.Duplicate || !elsewhere.Duplicate {
				t.Fatalf("duplicates: %v %v %v", first, again, elsewhere)
			}
			if again.Due != dueOf(3) || again.Version != first.Version || elsewhere.Due != dueOf(3) {
				t.Fatalf("a redelivery must see what the first delivery saw: %v, %v, %v", first, again, elsewhere)
			}
			l, v := mustRead(t, st, "once")
			if l.total() != 1 || v != first.Version {
				t.Fatalf("state %v at %s, want one event at %s", l.applied, v, first.Version)
			}
		})
		t.Run("two instances that remember old states both get through", func(t *testing.T) {
			a, b := newStore(rdb, Config{}), newStore(rdb, Config{})
			for i := range uint64(20) {
				mustUpdate(t, a, "two", 2*i)
				mustUpdate(t, b, "two", 2*i+1)
			}
			if l, _ := mustRead(t, a, "two"); l.total() != 40 {
				t.Fatalf("%d events, want 40", l.total())
			}
		})
		t.Run("a failing fold changes nothing and is the caller's own error", func(t *testing.T) {
			st := newStore(rdb, Config{})
			mustUpdate(t, st, "fail", 1)
			bad := errors.New("bad event")
			_, err := st.Update(context.Background(), "fail", Op[ledger]{Key: 2, Fold: func(l *ledger, _ bool, _ uint8) (Effects, error) {
				l.applied[99]++ // half a change
				return Effects{}, bad
			}})
			if err != bad {
				t.Fatalf("error %v, want the fold's", err)
			}
			mustUpdate(t, st, "fail", 3)
			if l, _ := mustRead(t, st, "fail"); len(l.applied) != 2 || l.applied[99] != 0 {
				t.Fatalf("state %v holds the failed event", l.applied)
			}
		})
		t.Run("a panicking fold blocks nobody", func(t *testing.T) {
			st := newStore(rdb, Config{})
			_, err := st.Update(context.Background(), "panic", Op[ledger]{Key: 1, Fold: func(*ledger, bool, uint8) (Effects, error) { panic("boom") }})
			if err == nil {
				t.Fatal("no error")
			}
			mustUpdate(t, st, "panic", 2)
		})
	})
}

func TestConcurrentUpdatesOfOnePlayerShareCommits(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, rdb redis.UniversalClient) {
		st := newStore(rdb, Config{})
		const n = 500
		var wg sync.WaitGroup
		for i := range uint64(n) {
			for range 2 { // each comes twice
				wg.Add(1)
				go func() {
					defer wg.Done()
					if _, err := st.Update(context.Background(), "hot", note(i)); err != nil {
						t.Errorf("event %d: %v", i, err)
					}
				}()
			}
		}
		wg.Wait()
		l, _ := mustRead(t, st, "hot")
		if len(l.applied) != n || l.total() != n {
			t.Fatalf("%d different events applied %d times, want %d", len(l.applied), l.total(), n)
		}
		if s := st.Stats(); s.Batches >= s.Events {
			t.Errorf("%d commits for %d events: waiting events were not gathered", s.Batches, s.Events)
		}
	})
}

func TestCanceledCallerLeavesTheQueue(t *testing.T) {
	t.Parallel()
	st := newStore(connect(t, redistest.Start(t)), Config{})
	hold, started := make(chan struct{}), make(chan struct{})
	var once sync.Once
	leader := make(chan error, 1)
	go func() {
		_, err := st.Update(context.Background(), "p", Op[ledger]{Key: 1, Fold: func(l *ledger, _ bool, _ uint8) (Effects, error) {
			once.Do(func() { close(started) })
			<-hold
			l.applied[1]++
			return Effects{}, nil
		}})
		leader <- err
	}()
	<-started
	ctx, cancel := context.WithCancel(context.Background())
	canceled := make(chan error, 1)
	go func() { _, err := st.Update(ctx, "p", note(2)); canceled <- err }()
	waiting := make(chan error, 1)
	go func() { _, err := st.Update(context.Background(), "p", note(3)); waiting <- err }()
	cancel()
	if err := <-canceled; !errors.Is(err, context.Canceled) {
		t.Fatalf("canceled caller got %v", err)
	}
	close(hold)
	if err := errors.Join(<-leader, <-waiting); err != nil {
		t.Fatal(err)
	}
	if l, _ := mustRead(t, st, "p"); l.applied[1] != 1 || l.applied[2] != 0 || l.applied[3] != 1 {
		t.Fatalf("state %v", l.applied)
	}
}

func TestDuplicateMemoryIsBounded(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, rdb redis.UniversalClient) {
		now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
		st := newStore(rdb, Config{RememberIDs: 8, RememberFor: time.Hour, Now: func() time.Time { return now }})
		size := func() int64 {
			n, err := rdb.StrLen(context.Background(), StateKey("p")).Result()
			if err != nil {
				t.Fatal(err)
			}
			l, _ := mustRead(t, st, "p")
			return (n - headSize - int64(12*len(l.applied))) / idSize
		}
		for i := range uint64(8) {
			mustUpdate(t, st, "p", i)
		}
		if !mustUpdate(t, st, "p", 0).Duplicate {
			t.Fatal("the oldest of 8 is forgotten too early")
		}
		mustUpdate(t, st, "p", 8)
		if n := size(); n != 8 {
			t.Fatalf("%d ids remembered, want 8", n)
		}
		if !mustUpdate(t, st, "p", 1).Duplicate || mustUpdate(t, st, "p", 0).Duplicate {
			t.Fatal("by count, exactly the oldest must be forgotten")
		}
		now = now.Add(61 * time.Minute)
		mustUpdate(t, st, "p", 100)
		if n := size(); n != 1 {
			t.Fatalf("%d ids remembered an hour later, want 1", n)
		}
	})
}

func TestManyPlayersBeyondTheCache(t *testing.T) {
	t.Parallel()
	st := newStore(connect(t, redistest.Start(t)), Config{CachePlayers: 64})
	for round := range uint64(2) {
		for i := range 1000 {
			mustUpdate(t, st, fmt.Sprint("p", i), round)
		}
	}
	kept := 0
	for i := range st.cache.stripes {
		kept += len(st.cache.stripes[i].entries)
	}
	if kept > 64 {
		t.Errorf("%d players are kept in memory, want at most 64", kept)
	}
	for i := range 1000 {
		if l, _ := mustRead(t, st, fmt.Sprint("p", i)); l.total() != 2 {
			t.Fatalf("player %d has %d events, want 2", i, l.total())
		}
	}
}

func TestValueOfANewerLayoutIsLeftAlone(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx := context.Background()
		st := newStore(rdb, Config{})
		mustUpdate(t, st, "p", 1)
		if err := rdb.SetRange(ctx, StateKey("p"), 0, "\x00\x00\x00\x02abcd\x03").Err(); err != nil {
			t.Fatal(err)
		}
		for _, s := range []*Store[ledger]{st, newStore(rdb, Config{})} {
			if _, err := s.Update(ctx, "p", note(2)); err == nil {
				t.Fatal("written over a newer release's value")
			}
		}
		if err := rdb.Set(ctx, StateKey("q"), "short", 0).Err(); err != nil {
			t.Fatal(err)
		}
		if _, err := st.Update(ctx, "q", note(2)); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("corrupt value: %v", err)
		}
	})
}

func TestWaitingEventsAreFoldedInOrderOfTime(t *testing.T) {
	t.Parallel()
	st := newStore(connect(t, redistest.Start(t)), Config{})
	hold, started := make(chan struct{}), make(chan struct{})
	var once sync.Once
	var order []int64
	var wg sync.WaitGroup
	send := func(at int64) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			_, err := st.Update(context.Background(), "p", Op[ledger]{Key: uint64(at), At: at, Fold: func(l *ledger, _ bool, _ uint8) (Effects, error) {
				if at == 0 {
					once.Do(func() { close(started) })
					<-hold
				} else {
					order = append(order, at)
				}
				l.applied[uint64(at)]++
				return Effects{}, nil
			}})
			if err != nil {
				t.Error(err)
			}
		}()
	}
	send(0)
	<-started
	for _, at := range []int64{5, 3, 9, 1, 7} {
		send(at)
	}
	for waiting := 0; waiting < 5; {
		s := &st.cache.stripes[stripeOf("p")]
		s.mu.Lock()
		waiting = len(s.entries["p"].queue)
		s.mu.Unlock()
	}
	close(hold)
	wg.Wait()
	if fmt.Sprint(order) != "[1 3 5 7 9]" {
		t.Fatalf("folded in order %v", order)
	}
	if s := st.Stats(); s.Batches != 2 || s.Events != 6 {
		t.Fatalf("%d commits for %d events, want 2 for 6", s.Batches, s.Events)
	}
}
