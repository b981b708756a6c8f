package timer

import (
	"context"
	"crypto/rand"
	"time"
)

// leased is work that one instance at a time does: the one that holds the lease of its
// name in Redis. The lease outlasts two rounds that fail, so a short fault does not
// move the work. When an instance dies, another takes over after the lease ends.
type leased struct {
	f      *Function
	name   string // the lease's name
	every  time.Duration
	failed string // logged when rounds begin to fail

	begin func(context.Context) error // takes over from the instance before
	step  func(context.Context) error // does one round
	leave func()                      // called when another instance has taken over; may be nil

	me   string
	mine bool // this instance did the round before
}

// follow does rounds in the background.
func (l *leased) follow() { l.f.Follow(l.every, l.failed, l.round) }

// round does one round if this instance holds the lease. After a round that failed it
// begins again, since what it remembers may differ from what Redis has.
func (l *leased) round(ctx context.Context) error {
	if l.me == "" {
		l.me = rand.Text()
	}
	held, err := l.f.journal.Lease(ctx, l.name, l.me, 3*l.every)
	if err != nil || !held {
		if l.mine && l.leave != nil {
			l.leave()
		}
		l.mine = false
		return err
	}
	if !l.mine {
		err = l.begin(ctx)
	}
	if err == nil {
		err = l.step(ctx)
	}
	l.mine = err == nil
	return err
}
