package console

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// queueEvery is how often the journal's queue of reviews is read. Decisions that came
// in by event are counted at once.
const queueEvery = 10 * time.Second

// queued is a decision of the journal's queue.
type queued struct {
	place
	player string
	erased bool // its player was erased, so there is nothing to review
}

// queue is the journal's queue of decisions that wait for review, with their places.
// It holds decisions from before the console started, which the console's own memory
// does not.
type queue struct {
	byID atomic.Pointer[map[string]queued]
}

func (q *queue) now() map[string]queued {
	if m := q.byID.Load(); m != nil {
		return *m
	}
	return nil
}

// readQueue reads the queue, and looks up the places of the decisions that are new in it.
func (f *Function) readQueue(ctx context.Context) error {
	waiting, err := f.store.journal.Reviews(ctx)
	if err != nil {
		return err
	}
	was, now := f.queue.now(), make(map[string]queued, len(waiting))
	for _, c := range waiting {
		q, known := was[c.Decision]
		if !known {
			d, err := f.recalled(ctx, c.Decision)
			switch {
			case errors.Is(err, errErased):
				q.erased = true
			case errors.Is(err, errNotFound): // it was written out: the page shows only its id
			case err != nil:
				return err
			default:
				q.place, q.player = place{d.Jurisdiction, d.Brand}, d.Player
			}
		}
		now[c.Decision] = q
	}
	f.queue.byID.Store(&now)
	return nil
}

// forget drops an erased player's decisions. If some still wait, readQueue looks them
// up again.
func (q *queue) forget(player string) {
	left := map[string]queued{}
	for id, one := range q.now() {
		if one.player != player {
			left[id] = one
		}
	}
	q.byID.Store(&left)
}

// waiting counts the decisions that wait for review, by place.
func (f *Function) waiting() map[place]int {
	n, counted := map[place]int{}, map[string]bool{}
	open := func(id string) bool {
		_, said := f.said.Load(id)
		first := !counted[id]
		counted[id] = true
		return first && !said
	}
	f.decisions.mu.Lock()
	for _, d := range f.decisions.ring {
		if d != nil && d.Review && d.Verdict != "revoked" && open(d.Decision) {
			n[place{d.Jurisdiction, d.Brand}]++
		}
	}
	f.decisions.mu.Unlock()
	for id, q := range f.queue.now() {
		if open(id) && !q.erased {
			n[q.place]++
		}
	}
	return n
}

// countAt sums the counts of the places that sees allows.
func countAt(waiting map[place]int, sees func(jurisdiction, brand string) bool) (n int) {
	for where, count := range waiting {
		if sees(where.jurisdiction, where.brand) {
			n += count
		}
	}
	return n
}

func anywhere(_, _ string) bool { return true }
