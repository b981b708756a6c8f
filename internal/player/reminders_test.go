package player

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"pitboss/test/redistest"
)

func setReminder(t *testing.T, st *Store[ledger], player string, key uint64, changes ...ReminderChange) {
	t.Helper()
	_, err := st.Update(context.Background(), player, Op[ledger]{Key: key, Fold: func(l *ledger, dup bool, _ uint8) (Effects, error) {
		if !dup {
			l.applied[key]++
		}
		return Effects{Reminders: changes}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
}

func take(t *testing.T, rdb redis.UniversalClient, now time.Time, max int) []Reminder {
	t.Helper()
	out, err := NewReminders(rdb).Take(context.Background(), now, 10*time.Second, max)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestReminders(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx := context.Background()
		st := newStore(rdb, Config{})
		base := time.Date(2026, 6, 1, 12, 0, 0, 123456789, time.UTC)
		due := base.Add(90 * time.Second)

		setReminder(t, st, "p:1", 1, ReminderChange{Name: "retry", New: due})
		if got := take(t, rdb, due.Add(-time.Millisecond), 10); len(got) != 0 {
			t.Fatalf("early: %v", got)
		}
		want := Reminder{Player: "p:1", Name: "retry", Due: due}
		if got := take(t, rdb, due.Add(time.Second), 10); len(got) != 1 || got[0] != want {
			t.Fatalf("due: %v, want %v", got, want)
		}
		if got := take(t, rdb, due.Add(10*time.Second), 10); len(got) != 0 {
			t.Fatalf("taken twice within the lease: %v", got)
		}
		// Its taker died.
		if got := take(t, rdb, due.Add(11*time.Second), 10); len(got) != 1 || got[0] != want {
			t.Fatalf("after the lease: %v, want %v", got, want)
		}
		// While it is being dealt with, an event moves it: Done must not remove the new one.
		later := due.Add(time.Hour)
		setReminder(t, st, "p:1", 2, ReminderChange{Name: "retry", Old: due, New: later})
		if err := NewReminders(rdb).Done(ctx, []Reminder{want}); err != nil {
			t.Fatal(err)
		}
		want.Due = later
		if got := take(t, rdb, later.Add(time.Second), 10); len(got) != 1 || got[0] != want {
			t.Fatalf("moved: %v, want %v", got, want)
		}
		setReminder(t, st, "p:1", 3, ReminderChange{Name: "retry", Old: later})
		if got := take(t, rdb, later.Add(time.Hour), 10); len(got) != 0 {
			t.Fatalf("canceled: %v", got)
		}
		// A redelivered event sets nothing again.
		setReminder(t, st, "p:1", 1, ReminderChange{Name: "retry", New: due})
		if got := take(t, rdb, later.Add(time.Hour), 10); len(got) != 0 {
			t.Fatalf("set by a duplicate: %v", got)
		}
	})
}

func TestRemindersAreTakenOnceByManyTakers(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, rdb redis.UniversalClient) {
		st := newStore(rdb, Config{})
		now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
		const n = 300
		for i := range n {
			setReminder(t, st, fmt.Sprint("p", i), 1, ReminderChange{Name: "a", New: now}, ReminderChange{Name: "b", New: now.Add(time.Hour)})
		}
		var mu sync.Mutex
		seen := map[Reminder]int{}
		var wg sync.WaitGroup
		for range 8 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				r := NewReminders(rdb)
				for {
					got, err := r.Take(context.Background(), now, time.Minute, 7)
					if err != nil {
						t.Error(err)
						return
					}
					if len(got) == 0 {
						return
					}
					mu.Lock()
					for _, g := range got {
						seen[g]++
					}
					mu.Unlock()
					if err := r.Done(context.Background(), got); err != nil {
						t.Error(err)
						return
					}
				}
			}()
		}
		wg.Wait()
		if len(seen) != n {
			t.Fatalf("%d reminders taken, want %d", len(seen), n)
		}
		for r, times := range seen {
			if times != 1 || r.Name != "a" {
				t.Errorf("%v taken %d times", r, times)
			}
		}
	})
}

// The others' reminders must not wait for the node that is down.
func TestReminderOfALivingNodeIsTakenWhileAnotherIsDown(t *testing.T) {
	t.Parallel()
	nodes := redistest.NewCluster(t, 3, 0, "--cluster-require-full-coverage", "no")
	rdb := connectCluster(t, nodes)
	ctx := context.Background()
	st := newStore(rdb, Config{})
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	victim := nodes.Servers[0]
	living, dead := 0, 0
	for i := range 300 {
		player := fmt.Sprint("p", i)
		setReminder(t, st, player, 1, ReminderChange{Name: "a", New: now})
		node, err := rdb.MasterForKey(ctx, StateKey(player))
		if err != nil {
			t.Fatal(err)
		}
		if node.Options().Addr == victim.Addr {
			dead++
		} else {
			living++
		}
	}
	if living == 0 || dead == 0 {
		t.Fatalf("%d players on living nodes, %d on the other", living, dead)
	}
	victim.Kill()
	got, err := NewReminders(rdb).Take(ctx, now, time.Hour, 1000)
	if err == nil {
		t.Error("no error, although a node is down")
	}
	if len(got) != living {
		t.Errorf("%d reminders taken, want the %d of the living nodes (%v)", len(got), living, err)
	}
}
