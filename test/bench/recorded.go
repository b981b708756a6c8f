package bench

import (
	"context"
	"fmt"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"

	"pitboss/internal/dataset"
)

// recording yields a file's events in order, moved in time so that the last one happens
// now. At the end of the file it starts again, later by the file's length and with new
// ids.
type recording struct {
	events []*ce.Event
	next   int
	shift  time.Duration
	span   time.Duration
}

// newRecording moves events so that the last of the first n happens now.
func newRecording(events []*ce.Event, n int, now time.Time) *recording {
	first, last := events[0].Time(), events[len(events)-1].Time()
	r := &recording{events: events, span: last.Sub(first) + time.Second}
	r.shift = now.Sub(events[(n-1)%len(events)].Time()) - time.Duration((n-1)/len(events))*r.span
	return r
}

// Next returns the next event.
func (r *recording) Next() *ce.Event {
	round := r.next / len(r.events)
	e := r.events[r.next%len(r.events)].Clone()
	r.next++
	e.SetTime(e.Time().Add(r.shift + time.Duration(round)*r.span))
	if round > 0 {
		e.SetID(fmt.Sprintf("%s-round%d", e.ID(), round))
	}
	return &e
}

// recorded opens the file and sends the players' accounts directly to profile, since they
// are not part of the measurement.
func (p *path) recorded(ctx context.Context) error {
	need := p.cfg.Burst + max(p.cfg.Burst/4, 1000)
	for _, rate := range p.cfg.Rates {
		need += int(rate * p.cfg.Phase.Seconds())
	}
	setup, events, err := dataset.Load(p.cfg.Play, need)
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	if len(events) == 0 {
		return fmt.Errorf("bench: %s holds no event", p.cfg.Play)
	}
	r := newRecording(events, need, time.Now())
	p.source = r
	reqs := make([]request, len(setup))
	host := p.system.Hosts["profile"]
	for i, e := range setup {
		e.SetTime(e.Time().Add(r.shift))
		if reqs[i], err = requestOf(e, host); err != nil {
			return err
		}
	}
	load, err := openLoop(ctx, host, reqs, 0, 16)
	if err == nil && load.Failed > 0 {
		err = fmt.Errorf("bench: profile refused %d of %d accounts", load.Failed, load.Sent)
	}
	return err
}
