package timer

import (
	"context"
	"crypto/rand"
	"time"

	"go.uber.org/zap"

	"pitboss/internal/repeat"
)

// leased is work that one instance does at a time: whoever holds the lease of its
// name in Redis. The lease outlasts two rounds that fail, so that a short fault
// does not change who works; an instance that dies is replaced when it ends.
type leased struct {
	f      *Function
	name   string // of the lease
	every  time.Duration
	failed string // what is logged where a round fails

	begin func(context.Context) error // takes over from the instance before
	step  func(context.Context) error // one round
	leave func()                      // another instance works now; nil: nothing to do

	me   string
	mine bool // the lease was this instance's in the round before
}

// run does rounds until ctx ends.
func (l *leased) run(ctx context.Context) {
	for range repeat.Now(ctx, l.every) {
		if err := l.round(ctx); err != nil && ctx.Err() == nil {
			l.f.Log.Warn(l.failed, zap.Error(err))
		}
	}
}

// round does one round if the lease is this instance's. After one that failed it
// begins anew: what it remembers may not be what Redis has.
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
