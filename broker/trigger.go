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
type trigger struct {
	b          *Broker
	name       string
	file       string
	filter     func(*message) bool // nil: typ says it all
	typ        string              // the one event type that can match; "": any
	subscriber subscriber
	sink       subscriber // nil: dead letters are only kept
	retries    retries

	ctx context.Context // ends when the Broker stops

	mu      sync.Mutex
	queue   []*delivery // ready for the first attempt, oldest first
	workers int         // that take from it until it is empty
	running int         // attempts under way
	count   int         // events in memory: in the queue, being tried, waiting for a retry
	bytes   int64
	paused  bool

	kept    int      // events in HELD for this Trigger
	storing int      // being put there
	later   []uint64 // of the kept, those that are not in memory, oldest first
	behind  bool     // what comes is stored, since what came before it is
	woken   chan struct{}

	delivered, retried, deadLettered, replies, unmatched atomic.Int64
	sinking                                              atomic.Int64 // dead letters on their way to the sink
}

// orderAnnotation asks Kafka's Broker for delivery in order per partition key.
// This Broker delivers every Trigger's events as they come, and says so: an event
// that waits for a retry holds no other up.
const orderAnnotation = "kafka.eventing.knative.dev/delivery.order"

// maxQueued bounds what a Trigger has in memory, in bytes.
const maxQueued = 128 << 20

// newTrigger resolves what the manifest refers to.
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
			b.cfg.Logger.Debug("dead letters are kept here only", zap.String("trigger", t.name), zap.Error(err))
		}
	}
	t.setFilter(m)
	if m.Metadata.Annotations[orderAnnotation] == "ordered" {
		b.cfg.Logger.Warn("this Broker does not keep order: the Trigger's events are delivered as they come",
			zap.String("trigger", t.name), zap.String("annotation", orderAnnotation))
	}
	return t, nil
}

// deliveryOf is the delivery spec of a Trigger: its own, or the Broker's; the
// dead-letter sink is the Broker's where the Trigger's spec names none.
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

// reach is the subscriber that a destination names: a function of this process
// or a server.
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

// withPath is a URL whose path is not empty.
func withPath(u *url.URL, err error) (*url.URL, error) {
	if err == nil && u.Path == "" {
		u.Path = "/"
	}
	return u, err
}

// setFilter makes the filter of the spec, and finds the one type that it names
// exactly, if it names one.
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

// catchUp begins to deliver what is held from before.
func (t *trigger) catchUp(held []uint64) {
	t.mu.Lock()
	t.later, t.kept, t.behind = append(held, t.later...), t.kept+len(held), t.behind || len(held) > 0
	t.mu.Unlock()
	go t.load()
	t.wake()
}

// offer takes an event that the Trigger's type admits, if its filter does.
// true: the caller has deliver called.
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

// admit takes a delivery into memory. true: the caller, who holds mu, has
// deliver called.
func (t *trigger) admit(d *delivery) bool {
	t.count++
	t.bytes += d.m.size()
	return t.enqueue(d)
}

// enqueue has a worker take d. true: a new one, for which the caller, who holds
// mu, has deliver called.
func (t *trigger) enqueue(d *delivery) bool {
	t.queue = append(t.queue, d)
	if t.workers == t.b.cfg.Parallel || t.paused {
		return false
	}
	t.workers++
	return true
}

// dispatch has a worker deliver for t, if there is anything to deliver. A worker that
// is done waits for more work, because its stack has already grown to what the
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

// deliver makes first attempts until there are none left. It goes with the reply
// to the Trigger that takes it: waking another goroutine for it would cost more
// than the delivery, where little is going on.
func (t *trigger) deliver() {
	for t != nil {
		t = t.work()
	}
}

// work makes first attempts until the queue is empty or a reply leads on.
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
			t.b.dispatch(t) // in this one's place
			return next
		}
		break
	}
	t.workers--
	return next
}

// retry makes another attempt at a delivery, beside the workers: an event that
// keeps failing holds up nobody.
func (t *trigger) retry(d *delivery) {
	t.mu.Lock()
	if t.paused { // it has a place of its own
		t.mu.Unlock()
		return
	}
	t.running++
	t.mu.Unlock()
	next, _ := d.run(func() {})
	next.deliver()
}

// ran notes that an attempt has ended.
func (t *trigger) ran() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.running--
}

// again puts a delivery back that nothing was decided about.
func (t *trigger) again(d *delivery) {
	t.mu.Lock()
	defer t.mu.Unlock()
	d.tries = 0
	if t.enqueue(d) {
		t.b.dispatch(t)
	}
}

// finish ends a delivery.
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

// pause begins no more attempts.
func (t *trigger) pause() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.paused = true
}

// drain waits until no attempt is under way, then gives what is left in
// memory a place of its own, so that after the next start nobody else gets it
// again; until ctx ends.
func (t *trigger) drain(ctx context.Context) {
	t.await(ctx, func(now load) bool { return now.running == 0 })
	t.mu.Lock()
	for _, d := range t.queue {
		d.keep()
	}
	t.mu.Unlock()
	t.await(ctx, func(now load) bool { return now.storing == 0 })
}

// close releases the subscribers once the attempts that the Broker's stop cut
// off have ended.
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

// load of a Trigger, as counted now.
type load struct {
	count, running int // events in memory, attempts under way
	kept, storing  int // events kept for it alone, and about to be
	lag            int // all events that it has not finished with
}

func (t *trigger) stats() load {
	t.mu.Lock()
	defer t.mu.Unlock()
	return load{count: t.count, running: t.running, kept: t.kept, storing: t.storing, lag: t.count + len(t.later) + t.storing}
}
