package console

import (
	"context"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"pitboss/internal/journal"
	"pitboss/internal/repeat"
)

// arrival is how many dead letters came between two observations.
type arrival struct {
	at time.Time
	n  int64
}

// deadLettersFresh is how long a dead letter is news: trouble that goes on, not
// what somebody left lying.
const deadLettersFresh = 5 * time.Minute

// watch observes until the console stops.
func (l *deadLetters) watch(ctx context.Context, now func() time.Time, log *zap.Logger) {
	for range repeat.Now(ctx, time.Second) {
		if err := l.recount(ctx); err != nil && ctx.Err() == nil {
			log.Warn("dead letters are not counted", zap.Error(err))
			continue
		}
		l.observe(now())
		if err := l.learn(ctx, l.broker.status()); err != nil && ctx.Err() == nil {
			log.Warn("timelines do not tell what was refused", zap.Error(err))
		}
	}
}

// recount asks Redis how many dead letters there are: those of before this console
// began, another console's and timer's are among them.
func (l *deadLetters) recount(ctx context.Context) error {
	if l.store.rdb == nil || l.broker.known() {
		return nil
	}
	n, err := l.store.rdb.HLen(ctx, journal.DeadLettersKey).Result()
	if err != nil {
		return fmt.Errorf("console: redis: %w", err)
	}
	l.kept.Store(n)
	return nil
}

// observe counts what came since the last time.
func (l *deadLetters) observe(now time.Time) {
	if s := l.broker.status(); l.broker.known() && (!s.Known || s.Error != "") {
		return // what it kept before this console began is no news
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

// learn notes what became a dead letter of the local Broker since it was last
// asked; on a cluster each dead letter comes in by POST.
func (l *deadLetters) learn(ctx context.Context, s brokerStatus) error {
	var total int64
	for _, t := range s.Triggers {
		total += t.DeadLettered
	}
	fresh := total - l.learned
	if fresh < 0 { // the Broker was started anew
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

// overtaken removes from the local Broker what became a dead letter after its
// player was erased.
func (l *deadLetters) overtaken(ctx context.Context, d *deadLetter) (bool, error) {
	if l.store.journal == nil {
		return false, nil
	}
	gone, err := l.store.journal.Overtaken(ctx, &d.Event)
	if err == nil && gone {
		overtaken.Inc()
		err = l.remove(ctx, d.ID)
	}
	return gone, err
}
