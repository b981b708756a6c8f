package broker

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/binding"
	ce "github.com/cloudevents/sdk-go/v2/event"
	"go.uber.org/zap"

	"pitboss/internal/telemetry"
)

// delivery is one event on its way to one Trigger's subscriber.
type delivery struct {
	t     *trigger
	m     *message
	tries int

	// Guarded by the Trigger's mu.
	origin *origin
	kept   bool // it has a record in HELD, or is getting one
	over   bool // it is finished
}

// failure is the reason why an event could not be delivered.
type failure struct {
	dest string // address of the subscriber
	code int    // HTTP status; 500 without an answer
	body []byte // body of the answer
}

// run makes one attempt on the caller's goroutine. It returns when the attempt has
// ended and the delivery is finished or waits for a retry. If next is not nil, the
// caller must have next.deliver called for the reply.
//
// At the timeout the attempt fails, even if the subscriber, a function that ignores
// its context, is still running. A timer's goroutine then settles the attempt and
// calls instead, which takes over the caller's work. The function's later answer is
// dropped, and late is true: the caller must return without further work. Exactly one
// of the two settles the attempt; limit.Stop decides which.
func (d *delivery) run(instead func()) (next *trigger, late bool) {
	t := d.t
	ctx, cancel := context.WithTimeout(t.ctx, t.retries.timeout)
	defer cancel()
	// A separate timer, because context.AfterFunc costs fifty allocations.
	limit := time.AfterFunc(t.retries.timeout, func() {
		d.settle(answer{}, context.DeadlineExceeded)
		t.ran()
		instead()
	})
	a, err := deliver(ctx, t.subscriber, d.m)
	if !limit.Stop() {
		return nil, true
	}
	next = d.settle(a, err)
	t.ran()
	return next, false
}

// settle finishes the delivery, or schedules a retry, after an attempt.
func (d *delivery) settle(a answer, err error) (next *trigger) {
	t := d.t
	d.tries++
	switch {
	case t.ctx.Err() != nil: // the event stays in the log and is delivered after the next start
	case err == nil && a.ok():
		next, failed, err := d.reply(a.reply)
		d.end(failed, err)
		return next
	case again(a, err) && d.tries <= t.retries.most:
		t.retried.Add(1)
		d.wait()
		time.AfterFunc(t.retries.pause(d.tries-1), func() { t.retry(d) })
	default:
		d.end(failureOf(t.subscriber, a, err), nil)
	}
	return nil
}

// deliver makes one attempt. An unusable reply counts as status 502.
func deliver(ctx context.Context, to subscriber, m *message) (answer, error) {
	a, err := to.deliver(ctx, m)
	if errors.Is(err, errReply) || errors.Is(err, errTooLarge) {
		return answer{status: http.StatusBadGateway, body: []byte(err.Error())}, nil
	}
	return a, err
}

// attempt makes one attempt and returns at the timeout, even if the subscriber is
// still running.
func attempt(ctx context.Context, to subscriber, r *retries, m *message) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	type outcome struct {
		answer
		err error
	}
	done := make(chan outcome, 1) // buffered, so that the goroutine ends after a timeout
	go func() {
		a, err := deliver(ctx, to, m)
		done <- outcome{a, err}
	}()
	select {
	case o := <-done:
		return o.answer, o.err
	case <-ctx.Done():
		return answer{}, ctx.Err()
	}
}

func failureOf(to subscriber, a answer, err error) *failure {
	if err != nil {
		a = answer{status: http.StatusInternalServerError, body: []byte("dispatch error: " + err.Error())}
	}
	return &failure{dest: to.address(), code: a.status, body: a.body}
}

// send delivers an event to a dead-letter sink, and makes all attempts before it
// returns.
func send(ctx context.Context, to subscriber, r *retries, m *message) error {
	for tries := 0; ; tries++ {
		a, err := attempt(ctx, to, r, m)
		if err == nil && a.ok() {
			return nil
		}
		if !again(a, err) || tries >= r.most {
			f := failureOf(to, a, err)
			return fmt.Errorf("%d: %s", f.code, f.body[:min(len(f.body), 256)])
		}
		select {
		case <-time.After(r.pause(tries)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// end finishes the delivery: the event is delivered or, with failed, becomes a dead
// letter. If err is set or the dead letter cannot be stored, the delivery is tried
// again.
func (d *delivery) end(failed *failure, err error) {
	if err == nil && failed != nil {
		if err = d.t.deadLetter(d.t.ctx, d.m, *failed, d.tries); errors.Is(err, ErrFull) {
			go d.buryLater(*failed)
			return
		}
	} else if err == nil {
		d.t.delivered.Add(1)
	}
	if err == nil {
		d.t.finish(d)
		return
	}
	if d.t.ctx.Err() != nil {
		return // the event stays in the log and is delivered after the next start
	}
	e := d.m.event()
	d.t.b.cfg.Logger.Error("not delivered, tried again in a second", append(telemetry.Fields(&e), zap.String("trigger", d.t.name), zap.Error(err))...)
	d.wait()
	time.AfterFunc(time.Second, func() { d.t.again(d) })
}

// buryLater stores the dead letter once the log can be written again, without another
// attempt. Until then the event stays where it is in the log.
func (d *delivery) buryLater(f failure) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-d.t.ctx.Done():
			return // the event is delivered again after the next start
		case <-tick.C:
		}
		if d.t.b.Trouble() == nil {
			d.end(&f, nil)
			return
		}
	}
}

// reply offers the subscriber's reply to the Triggers, with the TTL of the answered
// event. A reply that ingress would refuse fails the delivery. For next see offer.
func (d *delivery) reply(m *message) (next *trigger, failed *failure, err error) {
	if m == nil {
		return nil, nil, nil
	}
	b := d.t.b
	if err := b.admit(m, d.m.ttl); err != nil {
		var refused *refusal
		if !errors.As(err, &refused) {
			return nil, nil, err
		}
		return nil, &failure{dest: b.URL() + b.path, code: refused.status, body: []byte(refused.Error())}, nil
	}
	d.t.mu.Lock()
	r := d.origin
	r.left.Add(1)
	d.t.mu.Unlock()
	d.t.replies.Add(1)
	return b.offer(m, r), nil, nil
}

// errReply is a 2xx answer that is neither empty nor an event. It counts as 502 and
// is retried, as in Knative's Broker.
var errReply = errors.New("the reply is neither empty nor a CloudEvent")

func readReply(h http.Header, body []byte) (*message, error) {
	if len(body) == 0 && h.Get("Ce-Specversion") == "" {
		return nil, nil
	}
	m, err := readHTTP(h, body)
	if err == nil {
		return m, nil
	}
	if h.Get("Ce-Specversion") != "" { // an invalid event, which Knative's ingress refuses for good
		return &message{invalid: err}, nil
	}
	if !strings.HasPrefix(strings.ToLower(h.Get("Content-Type")), "application/cloudevents") {
		err = binding.ErrUnknownEncoding
	}
	return nil, fmt.Errorf("%w: %w", errReply, err)
}

// withTTL returns the event with its TTL attribute, which a dead letter has in a
// cluster, too.
func (m *message) withTTL() (e ce.Event) {
	e = m.event().Clone()
	_ = e.Context.SetExtension(ttlAttribute, m.ttl)
	return e
}
