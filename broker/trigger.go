package broker

import (
	"context"
	"fmt"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
	eventingduckv1 "knative.dev/eventing/pkg/apis/duck/v1"
	"knative.dev/eventing/pkg/eventfilter"
	"knative.dev/eventing/pkg/eventfilter/attributes"
	"knative.dev/eventing/pkg/eventfilter/subscriptionsapi"
	"knative.dev/eventing/pkg/kncloudevents"
	"knative.dev/pkg/apis"
	duckv1 "knative.dev/pkg/apis/duck/v1"

	"pitboss/broker/manifest"
)

// servingTimeout ends an attempt where the delivery spec sets no limit: in a
// cluster Knative Serving does so after this long (timeoutSeconds).
const servingTimeout = 5 * time.Minute

// trigger delivers the events that match one Trigger to its subscriber.
type trigger struct {
	b          *Broker
	name       string
	file       string
	filter     eventfilter.Filter
	subjects   []string // of the log: what can match at all
	subscriber duckv1.Addressable
	sink       *duckv1.Addressable // nil: dead letters are only kept
	retry      kncloudevents.RetryConfig
	format     *eventingduckv1.FormatType

	slots chan struct{} // first attempts at once
	lines *lines        // nil: unordered
	feed  jetstream.ConsumeContext
	info  jetstream.Consumer

	mu       sync.Mutex
	inFlight map[*delivery]struct{}
	paused   bool
	wg       sync.WaitGroup

	delivered, retried, deadLettered, replies, unmatched atomic.Int64
}

// newTrigger resolves what the manifest refers to.
func newTrigger(b *Broker, m manifest.Trigger) (*trigger, error) {
	t := &trigger{b: b, name: m.Name, file: m.File, slots: make(chan struct{}, b.cfg.Parallel), inFlight: map[*delivery]struct{}{}}
	dst, err := t.resolve(m.Spec.Subscriber)
	if err != nil {
		return nil, &manifest.Problem{File: m.File, Field: "spec.subscriber", Detail: err.Error(), Remedy: "name a function that runs here, or give an absolute uri"}
	}
	t.subscriber = *dst
	spec := deliveryOf(b.manifest.Spec.Delivery, m.Spec.Delivery)
	if t.retry, err = kncloudevents.RetryConfigFromDeliverySpec(spec); err != nil {
		return nil, &manifest.Problem{File: m.File, Field: "spec.delivery", Detail: err.Error()}
	}
	if t.retry.RequestTimeout == 0 {
		t.retry.RequestTimeout = servingTimeout
	}
	t.format = spec.Format
	if spec.DeadLetterSink != nil {
		if t.sink, err = t.resolve(*spec.DeadLetterSink); err != nil {
			b.cfg.Logger.Debug("dead letters are kept here only", zap.String("trigger", t.name), zap.Error(err))
		}
	}
	t.setFilter(m)
	if m.Annotations[orderAnnotation] == "ordered" {
		t.lines = &lines{waiting: map[string][]*delivery{}}
	}
	return t, nil
}

// deliveryOf is the delivery spec of a Trigger: its own, or the Broker's; the
// dead-letter sink is the Broker's where the Trigger's spec names none.
func deliveryOf(broker, own *eventingduckv1.DeliverySpec) eventingduckv1.DeliverySpec {
	switch {
	case own == nil && broker == nil:
		return eventingduckv1.DeliverySpec{}
	case own == nil:
		return *broker
	}
	spec := *own
	if spec.DeadLetterSink == nil && broker != nil {
		spec.DeadLetterSink = broker.DeadLetterSink
	}
	return spec
}

func (t *trigger) resolve(d duckv1.Destination) (*duckv1.Addressable, error) {
	if d.Ref == nil {
		return &duckv1.Addressable{URL: d.URI}, nil
	}
	if d.Ref.Kind != "Service" {
		return nil, fmt.Errorf("ref.kind %s cannot be resolved on one machine", d.Ref.Kind)
	}
	base, ok := t.b.cfg.Resolve(d.Ref.Name)
	if !ok {
		return nil, fmt.Errorf("ref.name %s runs not on this machine", d.Ref.Name)
	}
	u, err := url.Parse(base)
	if err != nil {
		return nil, fmt.Errorf("ref.name %s: %w", d.Ref.Name, err)
	}
	if d.URI != nil {
		u = u.ResolveReference(d.URI.URL())
	}
	if u.Path == "" {
		u.Path = "/"
	}
	return &duckv1.Addressable{URL: (*apis.URL)(u)}, nil
}

// setFilter takes Knative's filter for the spec, and narrows what is read
// from the log to one type where the filter names one exactly.
func (t *trigger) setFilter(m manifest.Trigger) {
	typ := ""
	switch {
	case len(m.Spec.Filters) > 0:
		t.filter = allOf(t.b.cfg.Logger, m.Spec.Filters)
		for _, f := range m.Spec.Filters {
			if v := f.Exact["type"]; v != "" {
				typ = v
			}
		}
	case m.Spec.Filter != nil && len(m.Spec.Filter.Attributes) > 0:
		t.filter = attributes.NewAttributesFilter(m.Spec.Filter.Attributes)
		typ = m.Spec.Filter.Attributes["type"]
	default:
		t.filter = subscriptionsapi.NewNoFilter()
	}
	t.subjects = []string{allEvents}
	if typ != "" {
		t.subjects = []string{subjectOf(typ)}
	}
}

// start resumes the Trigger where it stopped. Deliveries end early when ctx does.
func (t *trigger) start(ctx context.Context) (err error) {
	if t.info, err = t.b.log.consumer(ctx, t.name, t.subjects, t.b.cfg.Pending, ackWait); err != nil {
		return err
	}
	t.feed, err = t.info.Consume(func(msg jetstream.Msg) { t.take(ctx, msg) },
		jetstream.PullMaxMessages(256), jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
			t.b.cfg.Logger.Warn("broker: log: consume", zap.String("trigger", t.name), zap.Error(err))
		}))
	if err != nil {
		return fmt.Errorf("broker: log: Trigger %s: %w", t.name, err)
	}
	return nil
}

// take hands one message of the log to a goroutine of its own. It must not
// block: what it holds is kept alive only once it is in flight.
func (t *trigger) take(ctx context.Context, msg jetstream.Msg) {
	d := &delivery{t: t, ctx: ctx, msg: msg, since: time.Now()}
	t.mu.Lock()
	if t.paused {
		t.mu.Unlock()
		_ = msg.Nak()
		return
	}
	t.inFlight[d] = struct{}{}
	t.wg.Add(1)
	t.mu.Unlock()
	if t.lines == nil {
		go t.run(d)
		return
	}
	if key := orderKey(msg.Data()); t.lines.join(key, d) {
		go func() {
			for next := d; next != nil; next = t.lines.next(key) {
				t.run(next)
			}
		}()
	}
}

func (t *trigger) run(d *delivery) {
	defer t.wg.Done()
	d.run()
	t.mu.Lock()
	delete(t.inFlight, d)
	t.mu.Unlock()
}

// keepAlive tells the log that deliveries which began a while ago go on.
func (t *trigger) keepAlive(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for d := range t.inFlight {
		if now.Sub(d.since) > beatAfter {
			_ = d.msg.InProgress()
		}
	}
}

// pause takes no more from the log.
func (t *trigger) pause() {
	t.mu.Lock()
	t.paused = true
	t.mu.Unlock()
	t.feed.Stop()
}

// drain waits until no attempt is running (those that sleep before a retry
// are not waited for), or until ctx ends.
func (t *trigger) drain(ctx context.Context) {
	for range cap(t.slots) {
		select {
		case t.slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
	}
}

func (t *trigger) wait() { t.wg.Wait() }
