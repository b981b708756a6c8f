// Package replay POSTs recorded events to a Broker, in real time, faster, or as fast as the
// Broker accepts them, and counts the answers.
package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"
	ce "github.com/cloudevents/sdk-go/v2/event"

	"pitboss/internal/sink"
)

// workers is how many POSTs are in flight. A player's events go to one worker, so that they are
// sent in order: at 100,000 times real speed an hour passes in 36 ms, and a reordering that
// never happens in a real network would make events late.
const workers = 64

// Options of a run.
type Options struct {
	Broker string  // URL to POST to
	Speed  float64 // times real speed; 0: as fast as possible
	// Sent is called once for each acknowledged event; nil is allowed.
	Sent func()
}

// Totals of a run. Accepted + Refused = Sent.
type Totals struct {
	Sent     int64
	Accepted int64 // acknowledged by the Broker
	Refused  int64 // answered with 4xx: never accepted
}

// Run POSTs every event that next returns, in order of event time, until next returns io.EOF.
// Faults are retried until ctx ends. Refused events are counted.
func Run(ctx context.Context, opt Options, next func() (*ce.Event, error)) (Totals, error) {
	client := sink.New(opt.Broker, 60*time.Second, workers)
	defer client.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	var sent, accepted, refused atomic.Int64
	var wg sync.WaitGroup
	queues := make([]chan *ce.Event, workers)
	for i := range queues {
		queues[i] = make(chan *ce.Event, 256)
		wg.Go(func() {
			for e := range queues[i] {
				err := client.PostRetry(ctx, e)
				var refusal *sink.Refused
				switch {
				case err == nil:
					accepted.Add(1)
				case errors.As(err, &refusal):
					refused.Add(1)
				default:
					cancel(fmt.Errorf("replay: event %s: %w", e.ID(), err))
					return
				}
				if opt.Sent != nil {
					opt.Sent()
				}
			}
		})
	}
	err := feed(ctx, opt.Speed, next, queues, &sent)
	for _, q := range queues {
		close(q)
	}
	wg.Wait()
	if cause := context.Cause(ctx); err == nil && cause != nil {
		err = cause
	}
	return Totals{Sent: sent.Load(), Accepted: accepted.Load(), Refused: refused.Load()}, err
}

// feed passes each event to its player's worker when it is due.
func feed(ctx context.Context, speed float64, next func() (*ce.Event, error), queues []chan *ce.Event, sent *atomic.Int64) error {
	var first time.Time
	started := time.Now()
	for {
		e, err := next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("replay: read: %w", err)
		}
		if first.IsZero() {
			first = e.Time()
		}
		if speed > 0 {
			due := started.Add(time.Duration(float64(e.Time().Sub(first)) / speed))
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(time.Until(due)):
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case queues[xxhash.Sum64String(e.Subject())%workers] <- e:
			sent.Add(1)
		}
	}
}
