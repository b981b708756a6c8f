package broker

import (
	"context"
	"fmt"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"knative.dev/eventing/pkg/eventfilter"

	"pitboss/broker/spec"
)

// trigger delivers the events that match one Trigger to its subscriber.
//
// Up to Parallel workers make the first attempts, in the order of the queue, without
// waiting for each other. Retries run beside the workers, so that an event that
// keeps failing does not block others. Memory is bounded: when too many events are in
// memory, the Trigger is behind and puts new ones into HELD, from where load brings
// them back in order. Rejected designs: a goroutine per event, whose stack must grow
// again each time, and one ordered queue with its retries, where a failing event
// blocks all others.
type trigger struct {
	b          *Broker
	name       string
	file       string
	filter     func(*message) bool // nil if only typ decides
	typ        string              // the only event type that can match; "" for any
	subscriber subscriber
	sink       subscriber // nil: dead letters are only stored
	retries    retries

	ctx context.Context // ends when the Broker stops

	mu      sync.Mutex
	queue   []*delivery // ready for the first attempt, oldest first
	workers int         // workers that take from the queue until it is empty
	running int         // running attempts
	count   int         // events in memory: queued, in an attempt or waiting for a retry
	bytes   int64       // their size
	paused  bool        // no new attempts, because the Broker stops

	kept    int           // events in HELD for this Trigger
	storing int           // events that are being stored in HELD
	later   []uint64      // the events in HELD that are not in memory, oldest first
	behind  bool          // new events go to HELD, because older ones are there
	woken   chan struct{} // wakes load

	delivered, retried, deadLettered, replies, unmatched atomic.Int64
	sinking                                              atomic.Int64 // dead letters that are being sent to the sink
}

// orderAnnotation requests ordered delivery per partition key from Kafka's Broker.
// This Broker ignores it with a warning: an event that waits for a retry never
// blocks another.
const orderAnnotation = "kafka.eventing.knative.dev/delivery.order"

// maxQueued limits the size of a Trigger's events in memory, in bytes.
const maxQueued = 128 << 20

// newTrigger makes the trigger and resolves its subscriber and dead-letter sink.
func newTrigger(b *Broker, m *spec.Trigger) (*trigger, error) {
	t := &trigger{b: b, name: m.Metadata.Name, file: m.File, woken: make(chan struct{}, 1)}
	delivery := deliveryOf(b.manifest.Spec.Delivery, m.Spec.Delivery)
	json := delivery.Format != nil && *delivery.Format == "json"
	var err error
	if t.subscriber, err = b.reach(m.Spec.Subscriber, json); err != nil {
		return nil, &spec.Problem{File: m.File, Where: "spec.subscriber", Detail: err.Error(), Remedy: "name a function that runs here, or give an absolute uri"}
	}
	if t.retries, err = retriesOf(delivery); err != nil {
		return nil, &spec.Problem{File: m.File, Where: "spec.delivery", Detail: err.Error()}
	}
	if delivery.DeadLetterSink != nil {
		if t.sink, err = b.reach(*delivery.DeadLetterSink, false); err != nil {
			b.cfg.Logger.Debug("the dead-letter sink does not resolve: dead letters are only stored", zap.String("trigger", t.name), zap.Error(err))
		}
	}
	t.setFilter(m)
	if m.Metadata.Annotations[orderAnnotation] == "ordered" {
		b.cfg.Logger.Warn("this Broker does not deliver in order: it ignores the Trigger's annotation",
			zap.String("trigger", t.name), zap.String("annotation", orderAnnotation))
	}
	return t, nil
}

// deliveryOf returns the delivery spec of a Trigger: its own or, without one, the
// Broker's. If its own has no dead-letter sink, the Broker's sink applies.
func deliveryOf(broker, own *spec.Delivery) spec.Delivery {
	switch {
	case own == nil && broker == nil:
		return spec.Delivery{}
	case own == nil:
		return *broker
	}
	d := *own
	if d.DeadLetterSink == nil && broker != nil {
		d.DeadLetterSink = broker.DeadLetterSink
	}
	return d
}

// reach returns the subscriber of a destination: a function of this process or an
// HTTP server.
func (b *Broker) reach(d spec.Destination, json bool) (subscriber, error) {
	if d.Ref != nil && d.Ref.Kind == "Service" && d.URI == nil {
		if f, ok := b.cfg.Function(d.Ref.Name); ok {
			return newInProcess(d.Ref.Name, f, b.cfg.MaxBody, b.cfg.Logger), nil
		}
	}
	to, err := b.resolve(d)
	if err != nil {
		return nil, err
	}
	return &client{url: to, http: b.http, json: json, maxBody: b.cfg.MaxBody}, nil
}

func (b *Broker) resolve(d spec.Destination) (*url.URL, error) {
	if d.Ref == nil {
		return withPath(url.Parse(*d.URI))
	}
	if d.Ref.Kind != "Service" {
		return nil, fmt.Errorf("ref.kind %s cannot be resolved on one machine", d.Ref.Kind)
	}
	base, ok := b.cfg.Resolve(d.Ref.Name)
	if !ok {
		return nil, fmt.Errorf("ref.name %s does not run on this machine", d.Ref.Name)
	}
	u, err := withPath(url.Parse(base))
	if err != nil {
		return nil, fmt.Errorf("ref.name %s: %w", d.Ref.Name, err)
	}
	if d.URI == nil {
		return u, nil
	}
	return withPath(u.Parse(*d.URI))
}

// withPath sets the path to / if it is empty.
func withPath(u *url.URL, err error) (*url.URL, error) {
	if err == nil && u.Path == "" {
		u.Path = "/"
	}
	return u, err
}

// setFilter makes the Trigger's filter, and sets typ if the filter requires one exact
// type. If it requires nothing else, filter stays nil.
func (t *trigger) setFilter(m *spec.Trigger) {
	switch {
	case len(m.Spec.Filters) > 0:
		for _, f := range m.Spec.Filters {
			if v := f.Exact["type"]; v != "" {
				t.typ = v
			}
		}
		if only := len(m.Spec.Filters) == 1 && len(m.Spec.Filters[0].Exact) == 1; only && t.typ != "" {
			return
		}
		all := allOf(m.Spec.Filters)
		t.filter = func(m *message) bool { return all(m) != eventfilter.FailFilter }
	case m.Spec.Filter != nil && len(m.Spec.Filter.Attributes) > 0:
		attrs := m.Spec.Filter.Attributes
		if t.typ = attrs["type"]; t.typ == "" || len(attrs) > 1 {
			t.filter = exactly(attrs)
		}
	}
}

// catchUp starts to deliver the events that the last process left in HELD.
func (t *trigger) catchUp(held []uint64) {
	t.mu.Lock()
	t.later, t.kept, t.behind = append(held, t.later...), t.kept+len(held), t.behind || len(held) > 0
	t.mu.Unlock()
	go t.load()
	t.wake()
}

// offer takes an event of the Trigger's type if it matches the filter. If offer
// returns true, the caller must have t.deliver called.
func (t *trigger) offer(m *message, r *origin) bool {
	if t.filter != nil && !t.filter(m) {
		t.unmatched.Add(1)
		return false
	}
	r.left.Add(1)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.behind || t.count >= t.b.cfg.Pending || t.bytes >= maxQueued {
		t.store(m.appendRecord(nil), func() { t.b.log.end(r) })
		return false
	}
	return t.admit(&delivery{t: t, m: m, origin: r})
}

// admit takes a delivery into memory. If it returns true, the caller, which holds mu,
// must have t.deliver called.
func (t *trigger) admit(d *delivery) bool {
	t.count++
	t.bytes += d.m.size()
	return t.enqueue(d)
}

// enqueue adds d to the queue. It returns true if it counted a new worker: then the
// caller, which holds mu, must have t.deliver called.
func (t *trigger) enqueue(d *delivery) bool {
	t.queue = append(t.queue, d)
	if t.workers == t.b.cfg.Parallel || t.paused {
		return false
	}
	t.workers++
	return true
}

// dispatch runs t.deliver on an idle worker or on a new one; t may be nil. Workers
// stay for further work, because their stacks have grown to the size that the
// functions of this process need.
func (b *Broker) dispatch(t *trigger) {
	if t == nil {
		return
	}
	select {
	case b.idle <- t:
	default:
		go b.work(t)
	}
}

func (b *Broker) work(t *trigger) {
	for {
		t.deliver()
		select {
		case t = <-b.idle:
		case <-t.ctx.Done():
			return
		}
	}
}

// deliver makes first attempts until none is left. It follows a reply to the Trigger
// that takes it: under low load, waking another goroutine would cost more than the
// delivery.
func (t *trigger) deliver() {
	for t != nil {
		t = t.work()
	}
}

// work makes first attempts until the queue is empty or a reply goes to another
// Trigger, which it returns.
func (t *trigger) work() (next *trigger) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.queue) > 0 && !t.paused {
		d := t.queue[0]
		t.queue[0] = nil
		t.queue = t.queue[1:]
		t.running++
		t.mu.Unlock()
		var late bool
		next, late = d.run(t.deliver)
		t.mu.Lock()
		if late {
			return nil
		}
		if next == nil {
			continue
		}
		if len(t.queue) > 0 && !t.paused {
			t.b.dispatch(t) // another worker replaces this one
			return next
		}
		break
	}
	t.workers--
	return next
}

// retry makes a further attempt beside the workers, so that an event that keeps
// failing does not block others.
func (t *trigger) retry(d *delivery) {
	t.mu.Lock()
	if t.paused { // the event stays in HELD
		t.mu.Unlock()
		return
	}
	t.running++
	t.mu.Unlock()
	next, _ := d.run(func() {})
	next.deliver()
}

// ran counts the end of an attempt.
func (t *trigger) ran() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.running--
}

// again queues a delivery once more, as if it had not been tried: its last attempt
// succeeded or failed for good, but that could not be stored.
func (t *trigger) again(d *delivery) {
	t.mu.Lock()
	defer t.mu.Unlock()
	d.tries = 0
	if t.enqueue(d) {
		t.b.dispatch(t)
	}
}

// finish removes a finished delivery from memory and from its origin.
func (t *trigger) finish(d *delivery) {
	t.mu.Lock()
	t.count--
	t.bytes -= d.m.size()
	d.over = true
	r, behind := d.origin, t.behind
	t.mu.Unlock()
	t.b.log.end(r)
	if behind {
		t.wake()
	}
}

// pause stops new attempts.
func (t *trigger) pause() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.paused = true
}

// drain waits until no attempt is running, then gives each queued delivery its own
// record in HELD: after a restart only this Trigger delivers it, and not also those
// that had finished with the event. It returns early when ctx ends.
func (t *trigger) drain(ctx context.Context) {
	t.await(ctx, func(now load) bool { return now.running == 0 })
	t.mu.Lock()
	for _, d := range t.queue {
		d.keep()
	}
	t.mu.Unlock()
	t.await(ctx, func(now load) bool { return now.storing == 0 })
}

// close waits up to one second for the attempts that the stop cancelled, then
// releases the subscribers.
func (t *trigger) close(ctx context.Context) {
	brief, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	t.await(brief, func(now load) bool { return now.running == 0 })
	t.subscriber.close(ctx)
	if t.sink != nil {
		t.sink.close(ctx)
	}
}

func (t *trigger) await(ctx context.Context, is func(load) bool) {
	for !is(t.stats()) {
		select {
		case <-time.After(2 * time.Millisecond):
		case <-ctx.Done():
			return
		}
	}
}

// load is a snapshot of a Trigger's counts.
type load struct {
	count, running int // events in memory, running attempts
	kept, storing  int // events in HELD, and on their way there
	lag            int // all events that the Trigger has not finished
}

func (t *trigger) stats() load {
	t.mu.Lock()
	defer t.mu.Unlock()
	return load{count: t.count, running: t.running, kept: t.kept, storing: t.storing, lag: t.count + len(t.later) + t.storing}
}
