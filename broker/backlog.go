package broker

import (
	"context"
	"time"
)

// Backlog is how many dead letters are kept, and how many events the log still
// holds because a Trigger has not finished with them; zeros when the log
// cannot tell within a second.
func (b *Broker) Backlog() (deadLetters, waiting int64) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if n, err := b.DeadLetters.Count(ctx); err == nil {
		deadLetters = int64(n)
	}
	if info, err := b.log.info(ctx, b.log.events); err == nil {
		waiting = int64(info.State.Msgs)
	}
	return deadLetters, waiting
}
