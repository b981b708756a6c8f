package player

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"
)

var run atomic.Int64 // names the players of each check anew

// TestAnyDeliveryEndsInTheSameState: random events of a few players, in random
// order, each delivered a random number of times, by several instances at
// once, while commands and replies get lost and instances are replaced by new
// ones. The Broker retries what failed. Each event is then in the state once,
// every delivery saw the same "decision due", and the reminders are the state's.
func TestAnyDeliveryEndsInTheSameState(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, rdb redis.UniversalClient) {
		rapid.Check(t, func(rt *rapid.T) {
			d := drawDeliveries(rt)
			d.deliver(rt, rdb)
			d.check(rt, rdb)
		})
	})
}

type delivery struct {
	player string
	key    uint64
}

type deliveries struct {
	queue     []delivery // in order of first delivery
	instances int
	workers   int
	batch     int
	cache     int
	fault     float64
	players   map[string][]uint64 // events of each
}

func drawDeliveries(t *rapid.T) *deliveries {
	id := run.Add(1)
	d := &deliveries{players: map[string][]uint64{}}
	for p := range rapid.IntRange(1, 3).Draw(t, "players") {
		name := fmt.Sprintf("run-%d:player-%d", id, p)
		keys := rapid.SliceOfNDistinct(rapid.Uint64Range(1, 1<<20), 1, 25, rapid.ID).Draw(t, "events")
		d.players[name] = keys
		for _, k := range keys {
			for range rapid.IntRange(1, 3).Draw(t, "times") {
				d.queue = append(d.queue, delivery{name, k})
			}
		}
	}
	d.queue = rapid.Permutation(d.queue).Draw(t, "order")
	d.instances = rapid.IntRange(1, 3).Draw(t, "instances")
	d.workers = rapid.IntRange(1, 8).Draw(t, "workers")
	d.batch = rapid.SampledFrom([]int{1, 2, 128}).Draw(t, "batch")
	d.cache = rapid.SampledFrom([]int{-1, 64}).Draw(t, "cache")
	d.fault = rapid.SampledFrom([]float64{0, 0.1, 0.3}).Draw(t, "fault")
	return d
}

func (d *deliveries) newStore(rdb redis.UniversalClient) *Store[ledger] {
	st := newStore(rdb, Config{Batch: d.batch, CachePlayers: d.cache})
	st.redis = faulty{st.redis, d.fault, d.fault}
	return st
}

func (d *deliveries) deliver(t *rapid.T, rdb redis.UniversalClient) {
	stores := make([]atomic.Pointer[Store[ledger]], d.instances)
	for i := range stores {
		stores[i].Store(d.newStore(rdb))
	}
	work := make(chan delivery, len(d.queue))
	for _, x := range d.queue {
		work <- x
	}
	close(work)
	var wg sync.WaitGroup
	for w := range d.workers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for x := range work {
				for try := 0; ; try++ {
					at := (w + try) % d.instances
					res, err := stores[at].Load().Update(context.Background(), x.player, remind(x.key))
					if err == nil {
						if res.Due != dueOf(x.key) {
							t.Errorf("event %d: due %d on one delivery, %d by itself", x.key, res.Due, dueOf(x.key))
						}
						break
					}
					stores[at].Store(d.newStore(rdb)) // it crashed; a new one takes its place
				}
			}
		}()
	}
	wg.Wait()
}

func (d *deliveries) check(t *rapid.T, rdb redis.UniversalClient) {
	for name, keys := range d.players {
		l, _, err := newStore(rdb, Config{}).Read(context.Background(), name)
		if err != nil {
			t.Fatal(err)
		}
		if len(l.applied) != len(keys) || l.total() != len(keys) {
			t.Fatalf("%s: %d events applied %d times, want %d", name, len(l.applied), l.total(), len(keys))
		}
		due, err := rdb.ZRange(context.Background(), ReminderKey(Shard(name)), 0, -1).Result()
		if err != nil {
			t.Fatal(err)
		}
		want := Reminder{Player: name, Name: "latest", Due: l.latest()}
		if l.latest().IsZero() {
			continue
		}
		mine := 0
		for _, m := range due {
			if r, ok := parseMember(m); ok && r.Player == name {
				mine++
			}
		}
		if !slices.Contains(due, want.member()) || mine != 1 {
			t.Fatalf("%s: reminders %v, want just %v", name, due, want)
		}
	}
}

// latest is when the ledger's one reminder is due: the largest multiple of 5
// among its events, in seconds; zero without one.
func (l *ledger) latest() (due time.Time) {
	for k := range l.applied {
		if at := time.Unix(int64(k), 0).UTC(); k%5 == 0 && at.After(due) {
			due = at
		}
	}
	return due
}

// remind is note with a reminder that depends on all events so far.
func remind(key uint64) Op[ledger] {
	op := note(key)
	return Op[ledger]{Key: key, Fold: func(l *ledger, dup bool, due uint8) (Effects, error) {
		was := l.latest()
		eff, err := op.Fold(l, dup, due)
		if now := l.latest(); err == nil && !now.Equal(was) {
			eff.Reminders = []ReminderChange{{Name: "latest", Old: was, New: now}}
		}
		return eff, err
	}}
}
