// Package timer sends reminder.due for reminders that profile set.
//
// Tick in (its own loop, and any CloudEvent from a PingSource) → due reminders
// taken from Redis with a lease → one reminder.due event each, POSTed to the
// Broker → the reminder is removed once the Broker acknowledged it. State
// touched: the shards' reminder sets. Errors: retryable. Any number of
// instances may run. A lease keeps two from sending the same reminder; when an
// instance dies, the others take its reminders after the lease ends.
//
// timer also runs the guard rail of harm. One instance reads the journal's decisions as
// they are made, turns the kill switch of an action that raises markers of harm, and
// sends switch.turned.
//
// And it settles the labels of decisions. Some minutes after each decision one instance
// looks in the player's state whether what a score predicted has happened, journals
// it, and calibrates the model's scores by it.
package timer

import (
	"context"
	"errors"
	"fmt"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"golang.org/x/sync/errgroup"

	"pitboss/internal/event"
	"pitboss/internal/journal"
	"pitboss/internal/player"
	"pitboss/internal/repeat"
	"pitboss/internal/setup"
	"pitboss/internal/sink"
	"pitboss/internal/telemetry"
)

const name = "timer"

type config struct {
	Sink     string        `env:"K_SINK"`
	RedisURL string        `env:"REDIS_URL,default=redis://127.0.0.1:6379"`
	Every    time.Duration `env:"TIMER_EVERY,default=1s"` // 0: only on a PingSource's tick
	Lease    time.Duration `env:"TIMER_LEASE,default=10s"`
	Batch    int           `env:"TIMER_BATCH,default=500"`
	// The guard rail reads from actions.yaml which players are held out.
	ModelsDir  string        `env:"MODELS_DIR,default=models"`
	GuardEvery time.Duration `env:"GUARD_EVERY,default=1m"` // 0: never
	// Labels are settled by labels.yaml and features.yaml.
	LabelsEvery time.Duration `env:"LABELS_EVERY,default=30s"` // 0: never
}

// Function is timer.
type Function struct {
	*setup.Edge
	cfg     config
	due     *player.Reminders
	journal *journal.Journal
	broker  *sink.Client
	now     func() time.Time
}

// New returns timer, not yet started.
func New() *Function { return &Function{Edge: setup.NewEdge(name), now: time.Now} }

// Start connects to Redis and, unless TIMER_EVERY is 0, starts the loop.
func (f *Function) Start(ctx context.Context, cfg map[string]string) error {
	return f.Open(ctx, cfg, &f.cfg, f.start)
}

func (f *Function) start(ctx context.Context) error {
	if err := setup.Sink(name, f.cfg.Sink); err != nil {
		return err
	}
	rdb, err := f.Redis(ctx, f.cfg.RedisURL)
	if err != nil {
		return err
	}
	f.due = player.NewReminders(rdb)
	f.broker = sink.New(f.cfg.Sink, f.cfg.Lease/2, 16)
	f.journal = journal.New(rdb, 1)
	if f.cfg.GuardEvery > 0 {
		f.newGuard().follow()
	}
	if f.cfg.LabelsEvery > 0 {
		labels, err := f.newLabels(rdb)
		if err != nil {
			return err
		}
		if labels != nil {
			labels.follow()
		}
	}
	if f.cfg.Every > 0 {
		f.Go(f.loop) // Stop waits until the reminders it has taken are sent
	}
	return nil
}

func (f *Function) loop(ctx context.Context) {
	var outage telemetry.Outage
	for range repeat.After(ctx, f.cfg.Every) {
		if err := f.tick(ctx); ctx.Err() == nil {
			outage.Note(f.Log, "reminders that are due are not sent", f.now(), err)
		}
	}
}

// Handle treats every event as a tick, for example those of a PingSource.
func (f *Function) Handle(ctx context.Context, e ce.Event) (*ce.Event, error) {
	return f.Answer(ctx, &e, func(ctx context.Context, _ *ce.Event) (*ce.Event, error) { return nil, f.tick(ctx) })
}

// tick sends the reminders that are due.
func (f *Function) tick(ctx context.Context) error {
	for {
		due, err := f.due.Take(ctx, f.now(), f.cfg.Lease, f.cfg.Batch)
		if err != nil {
			err = fmt.Errorf("timer: take: %w", err) // some shards failed; the others' reminders are sent
		}
		// Send what was taken even while the process stops: the other instances
		// cannot take it before the lease ends.
		if err := errors.Join(err, f.send(context.WithoutCancel(ctx), due)); err != nil {
			return err
		}
		if len(due) < f.cfg.Batch {
			return nil
		}
	}
}

func (f *Function) send(ctx context.Context, due []player.Reminder) error {
	sent := make([]bool, len(due))
	g := new(errgroup.Group)
	g.SetLimit(16)
	for i := range due {
		g.Go(func() error {
			err := f.post(ctx, due[i])
			sent[i] = err == nil
			return err
		})
	}
	errPost := g.Wait()
	var done []player.Reminder
	for i, r := range due {
		if sent[i] {
			done = append(done, r)
		}
	}
	if err := f.due.Done(ctx, done); err != nil {
		return errors.Join(errPost, fmt.Errorf("timer: done: %w", err))
	}
	return errPost
}

// post sends one reminder.due; its id derives from player, name and due time,
// so that a reminder sent twice counts once.
func (f *Function) post(ctx context.Context, r player.Reminder) error {
	e := ce.New()
	e.SetID(event.ReplyID(r.Player, r.Name, r.Due.UTC().Format(time.RFC3339Nano)))
	e.SetSource(event.SourceOf(name))
	e.SetType(event.TypeReminderDue)
	e.SetSubject(r.Player)
	e.SetTime(r.Due)
	e.SetExtension(event.ExtPartitionKey, r.Player)
	if err := e.SetData(ce.ApplicationJSON, event.ReminderDue{Reminder: r.Name, Due: r.Due}); err != nil {
		return fmt.Errorf("timer: encode: %w", err)
	}
	ctx, end := telemetry.Send(ctx, name, f.Log, &e)
	err := f.broker.Post(ctx, &e)
	end(err)
	var no *sink.Refused
	if errors.As(err, &no) && no.AboutTheEvent() {
		return f.keep(ctx, &e, no)
	}
	return err
}

// keep makes a dead letter of an event that the Broker refused. The Broker would
// refuse it again, and in the console somebody sees it. If it cannot be kept, the
// reminder stays due and is sent again.
func (f *Function) keep(ctx context.Context, e *ce.Event, no *sink.Refused) error {
	_, err := f.journal.KeepDeadLetter(ctx, journal.NewDeadLetter(e, f.cfg.Sink, no.Status, no.Body, f.now()))
	return err
}
