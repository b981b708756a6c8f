package simulator

import (
	"context"
	"sync"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"go.uber.org/zap"

	"pitboss/internal/event"
	"pitboss/internal/telemetry"
)

// Runner sends a World's events in real time and answers recommendations as its players
// would. It acts as both a game platform and a consuming team.
type Runner struct {
	Post func(context.Context, *ce.Event) error // returns once acknowledged
	Log  *zap.Logger

	mu    sync.Mutex
	world *World
}

// NewRunner returns a runner for world.
func NewRunner(world *World, post func(context.Context, *ce.Event) error, log *zap.Logger) *Runner {
	return &Runner{world: world, Post: post, Log: log}
}

// Run sends events, each at its event time, until ctx ends. At most 32 are in flight at a
// time, so that a slow Broker slows the simulator down instead of being overrun.
func (r *Runner) Run(ctx context.Context) {
	var inFlight sync.WaitGroup
	defer inFlight.Wait()
	slots := make(chan struct{}, 32)
	for {
		r.mu.Lock()
		wait := time.Until(r.world.Peek())
		var e *ce.Event
		if wait <= 0 {
			e = r.world.Next()
		}
		r.mu.Unlock()
		if e == nil {
			select {
			case <-ctx.Done():
				return
			case <-time.After(min(wait, 50*time.Millisecond)):
			}
			continue
		}
		select {
		case <-ctx.Done():
			return
		case slots <- struct{}{}:
		}
		inFlight.Go(func() {
			defer func() { <-slots }()
			if err := r.Post(ctx, e); err != nil && ctx.Err() == nil {
				r.Log.Warn("event not acknowledged", append(telemetry.Fields(e), zap.Error(err))...)
			}
		})
	}
}

// Answer plays the player's answer to a recommendation.issued event, as the
// consuming team's channel would see it. Other events are ignored.
func (r *Runner) Answer(e *ce.Event) error {
	if e.Type() != event.TypeRecommendation {
		return nil
	}
	rec, err := event.Decode[event.Recommendation](e)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.world.Respond(e.Subject(), e.ID(), rec.Kind, rec.Channel, time.Now())
	return nil
}
