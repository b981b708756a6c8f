package console

import (
	"context"
	"slices"
	"time"

	"go.uber.org/zap"

	"pitboss/internal/repeat"
	"pitboss/internal/telemetry"
)

// arrival counts the dead letters that came between two observations.
type arrival struct {
	at time.Time
	n  int64
}

// deadLettersFresh is how long a dead letter counts as new. The page warns of new
// ones, not of those that somebody left lying.
const deadLettersFresh = 5 * time.Minute

// watch counts the dead letters every so often until ctx ends.
func (l *deadLetters) watch(ctx context.Context, every time.Duration, now func() time.Time, log *zap.Logger) {
	var counting, learning telemetry.Outage
	for range repeat.Now(ctx, every) {
		err := l.recount(ctx)
		if ctx.Err() != nil {
			return
		}
		counting.Note(log, "new dead letters are not counted", now(), err)
		if err != nil {
			continue
		}
		l.observe(now())
		if err = l.learn(ctx, l.broker.status()); ctx.Err() == nil {
			learning.Note(log, "timelines do not show which events were refused", now(), err)
		}
	}
}

// recount asks how many dead letters are kept. Another console and timer keep some
// in Redis, too, and some are older than this console.
func (l *deadLetters) recount(ctx context.Context) error {
	if l.broker.known() {
		return nil
	}
	n, err := l.posted.size(ctx)
	if err == nil {
		l.kept.Store(n)
	}
	return err
}

// observe notes how many dead letters came since the last observation.
func (l *deadLetters) observe(now time.Time) {
	if s := l.broker.status(); l.broker.known() && (!s.Known || s.Error != "") {
		return // the Broker's older dead letters would look new later
	}
	n := l.count()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.before >= 0 && n > l.before {
		l.fresh = append(l.fresh, arrival{now, n - l.before})
	}
	l.before = n
	l.fresh = slices.DeleteFunc(l.fresh, func(a arrival) bool { return now.Sub(a.at) > deadLettersFresh })
}

// lately is how many dead letters came in the last five minutes.
func (l *deadLetters) lately() (n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range l.fresh {
		n += a.n
	}
	return n
}

// learn marks on the timelines the events that became dead letters of the local
// Broker since it was last asked. On a cluster each dead letter comes in by POST.
func (l *deadLetters) learn(ctx context.Context, s brokerStatus) error {
	var total int64
	for _, t := range s.Triggers {
		total += t.DeadLettered
	}
	fresh := total - l.learned
	if fresh < 0 { // the Broker was restarted
		fresh = total
	}
	if fresh == 0 {
		return nil
	}
	list, err := l.list(ctx, "", int(min(fresh, pageSize)))
	if err != nil {
		return err
	}
	for i := range list {
		if gone, err := l.overtaken(ctx, &list[i]); err != nil {
			return err
		} else if !gone {
			l.refused.note(&list[i])
		}
	}
	l.learned = total
	return nil
}

// overtaken removes a dead letter from the local Broker if its player was erased
// after the event, and reports whether it did.
func (l *deadLetters) overtaken(ctx context.Context, d *deadLetter) (gone bool, err error) {
	if l.store.journal != nil {
		gone, err = l.store.journal.Overtaken(ctx, &d.Event)
	} else {
		l.mu.Lock()
		gone = l.erasedAfter(&d.Event)
		l.mu.Unlock()
	}
	if err == nil && gone {
		overtaken.Inc()
		err = l.remove(ctx, d.ID)
	}
	return gone, err
}
