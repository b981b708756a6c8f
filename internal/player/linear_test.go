package player

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"pitboss/test/redistest"
)

// What a client asks for and is told. The model's state is the set of events
// applied, as bits.
type (
	ask struct {
		player int
		read   bool
		event  int // 0 to 63
	}
	told struct {
		failed bool   // outcome unknown
		set    uint64 // events applied, as the fold or the read saw them
	}
)

// exactlyOnce is the specification: an event that is not in the set is added
// to it, and everybody sees the one current set. Of failed operations settle
// leaves only those that must have happened.
var exactlyOnce = porcupine.Model{
	Partition: func(history []porcupine.Operation) (parts [][]porcupine.Operation) {
		for _, ops := range byPlayer(history) {
			parts = append(parts, ops)
		}
		return parts
	},
	Init: func() any { return uint64(0) },
	Step: func(state, input, output any) (bool, any) {
		set, in, out := state.(uint64), input.(ask), output.(told)
		bit := uint64(1) << in.event
		switch {
		case out.failed:
			return set&bit == 0, set | bit
		case in.read:
			return out.set == set, set
		}
		return set&bit == 0 && out.set == set|bit, set | bit
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v → %+v", input, output) },
}

func byPlayer(history []porcupine.Operation) map[int][]porcupine.Operation {
	parts := map[int][]porcupine.Operation{}
	for _, op := range history {
		p := op.Input.(ask).player
		parts[p] = append(parts[p], op)
	}
	return parts
}

// settle replaces one player's failed operations by what is known of them,
// without which porcupine needs exponential time in their number. It changes
// nothing in whether the history can be explained:
//
//   - a failed read, and a failed update of an event that nobody ever saw or
//     that another update is known to have applied, may be left out: at the
//     very end it would do no harm;
//   - an event that was seen and that no update is known to have applied was
//     applied by a failed one, and if by any of them, then the one called
//     first could have done it;
//   - sets only grow, so it was applied after whoever did not see it began,
//     and before whoever saw it was done.
func settle(ops []porcupine.Operation) (settled []porcupine.Operation) {
	lost := map[int]porcupine.Operation{}
	for _, op := range ops {
		in := op.Input.(ask)
		if !op.Output.(told).failed {
			settled = append(settled, op)
		} else if first, ok := lost[in.event]; !in.read && (!ok || op.Call < first.Call) {
			lost[in.event] = op
		}
	}
	known := settled
	for event, op := range lost {
		seen, applied := false, false
		for _, k := range known {
			in := k.Input.(ask)
			switch {
			case !in.read && in.event == event:
				applied = true
			case k.Output.(told).set&(1<<event) == 0:
				op.Call = max(op.Call, k.Call)
			default:
				seen, op.Return = true, min(op.Return, k.Return)
			}
		}
		if seen && !applied {
			settled = append(settled, op)
		}
	}
	return settled
}

func (l *ledger) bits() (set uint64) {
	for k := range l.applied {
		set |= 1 << k
	}
	return set
}

// history records what concurrent clients ask several Stores and are told.
type history struct {
	well  atomic.Int64 // operations that did not fail
	mu    sync.Mutex
	ops   []porcupine.Operation
	start time.Time
	wrong []string
}

func (h *history) ask(st *Store[ledger], client int, in ask) {
	ctx, name := context.Background(), fmt.Sprint("player-", in.player)
	call := time.Since(h.start).Nanoseconds()
	var out told
	dup := false
	if in.read {
		l, _, err := st.Read(ctx, name)
		if out.failed = err != nil; !out.failed {
			out.set = l.bits()
		}
	} else {
		res, err := st.Update(ctx, name, Op[ledger]{Key: uint64(in.event), Fold: func(l *ledger, dup bool, _ uint8) (Effects, error) {
			if !dup {
				l.applied[uint64(in.event)]++
			}
			out.set = l.bits()
			return Effects{}, nil
		}})
		out.failed, dup = err != nil, res.Duplicate
	}
	back := time.Since(h.start).Nanoseconds()
	if out.failed {
		out, back = told{failed: true}, 1<<62 // it may take effect at any later time
		time.Sleep(20 * time.Millisecond)     // or most of the history would be failures
	} else {
		h.well.Add(1)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if dup {
		// A read of a set that must hold the event; and, when the reply to a
		// commit got lost between Redis and the Store, which found its own
		// event on the second try, also the event's application.
		if out.set&(1<<in.event) == 0 {
			h.wrong = append(h.wrong, fmt.Sprintf("%+v is called a duplicate in %b", in, out.set))
		}
		h.ops = append(h.ops, porcupine.Operation{ClientId: client, Input: in, Call: call, Output: told{failed: true}, Return: back})
		in.read = true
	}
	h.ops = append(h.ops, porcupine.Operation{ClientId: client, Input: in, Call: call, Output: out, Return: back})
}

func TestConcurrentUpdatesAreLinearizable(t *testing.T) {
	t.Parallel()
	t.Run("lost commands and replies", func(t *testing.T) {
		t.Parallel()
		rdb := connect(t, redistest.Start(t))
		checkLinear(t, func() *Store[ledger] {
			st := newStore(rdb, Config{CachePlayers: 64})
			st.redis = faulty{st.redis, 0.02, 0.02}
			return st
		}, func(*testing.T, func(int) bool) {})
	})
	t.Run("Redis killed and started again", func(t *testing.T) {
		t.Parallel()
		srv := redistest.New(t, "--appendonly", "yes", "--appendfsync", "always")
		rdb := connect(t, srv.URL())
		checkLinear(t, func() *Store[ledger] { return newStore(rdb, Config{CachePlayers: 64}) },
			func(t *testing.T, goneWell func(int) bool) {
				for goneWell(40) {
					srv.Kill()
					time.Sleep(rand.N(time.Second)) // the client dials again for half of it
					if err := srv.Restart(); err != nil {
						t.Error(err)
						return
					}
				}
			})
	})
}

// checkLinear lets clients work on a few players through 3 Stores while chaos
// does its worst, then asks porcupine whether the history can be explained.
// goneWell waits until n more operations have succeeded; false: the work is over.
// Without such a pace a slow machine would fail most operations, and porcupine
// needs exponential time in those.
func checkLinear(t *testing.T, newStore func() *Store[ledger], chaos func(t *testing.T, goneWell func(n int) bool)) {
	const clients, players = 8, 4
	rounds := 60
	if heavy() {
		rounds = 160
	}
	h := &history{start: time.Now()}
	stores := []*Store[ledger]{newStore(), newStore(), newStore()}
	var work, trouble sync.WaitGroup
	stop := make(chan struct{})
	trouble.Add(1)
	go func() {
		defer trouble.Done()
		chaos(t, func(n int) bool {
			for until := h.well.Load() + int64(n); h.well.Load() < until; {
				select {
				case <-stop:
					return false
				case <-time.After(time.Millisecond):
				}
			}
			return true
		})
	}()
	for c := range clients {
		work.Add(1)
		go func() {
			defer work.Done()
			for range rounds {
				h.ask(stores[rand.N(len(stores))], c, ask{player: rand.N(players), read: rand.N(4) == 0, event: rand.N(64)})
				time.Sleep(rand.N(2 * time.Millisecond))
			}
		}()
	}
	work.Wait()
	close(stop)
	trouble.Wait()
	failed := 0
	for _, op := range h.ops {
		if op.Return == 1<<62 {
			failed++
		}
	}
	t.Logf("%d operations, %d failed", len(h.ops), failed)
	if failed == 0 {
		t.Error("no operation failed: nothing was put to the test")
	}
	for _, w := range h.wrong {
		t.Error(w)
	}
	var settled []porcupine.Operation
	for _, ops := range byPlayer(h.ops) {
		settled = append(settled, settle(ops)...)
	}
	for _, op := range settled {
		if op.Call > op.Return {
			t.Fatalf("%+v had to happen after it was seen", op.Input)
		}
	}
	if got := porcupine.CheckOperationsTimeout(exactlyOnce, settled, 2*time.Minute); got != porcupine.Ok {
		t.Fatalf("history is not linearizable: %v", got)
	}
}
