package console

import (
	"context"
	"slices"
	"time"

	"go.uber.org/zap"

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
		l.observe(now())
		if err := l.learn(ctx, l.broker.status()); err != nil && ctx.Err() == nil {
			log.Warn("timelines do not tell what was refused", zap.Error(err))
		}
	}
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
	l.learned = total
	for i := range list {
		l.refused.note(&list[i])
	}
	return nil
}
