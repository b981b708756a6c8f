package console

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"pitboss/internal/repeat"
)

// queueEvery is how often the journal's queue of reviews is read. What the console
// itself saw is counted at once.
const queueEvery = 10 * time.Second

// queued is a decision of the journal's queue.
type queued struct {
	place
	player string
	erased bool // the player is: there is nothing to review
}

// queue is the journal's queue of decisions that wait for a person, with their
// places: the console's memory begins when it starts, the queue does not.
type queue struct {
	byID atomic.Pointer[map[string]queued]
}

func (q *queue) now() map[string]queued {
	if m := q.byID.Load(); m != nil {
		return *m
	}
	return nil
}

// followQueue keeps the queue until ctx ends.
func (f *Function) followQueue(ctx context.Context) {
	if f.store.journal == nil {
		return
	}
	for range repeat.Now(ctx, queueEvery) {
		if err := f.readQueue(ctx); err != nil && ctx.Err() == nil {
			f.Log.Warn("how many decisions wait for a person is not known", zap.Error(err))
		}
	}
}

// readQueue reads the queue, and of decisions that are new in it where they are.
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
			case errors.Is(err, errNotFound): // written out: the page shows its id only
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

// forget has an erased player's decisions looked at anew.
func (q *queue) forget(player string) {
	left := map[string]queued{}
	for id, one := range q.now() {
		if one.player != player {
			left[id] = one
		}
	}
	q.byID.Store(&left)
}

// waiting is how many decisions want a person's word, by place.
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

// countAt is how many wait at the places that sees lets through.
func countAt(waiting map[place]int, sees func(jurisdiction, brand string) bool) (n int) {
	for where, count := range waiting {
		if sees(where.jurisdiction, where.brand) {
			n += count
		}
	}
	return n
}

func anywhere(_, _ string) bool { return true }
