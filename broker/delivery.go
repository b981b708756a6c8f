package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/cloudevents/sdk-go/v2/binding"
	ce "github.com/cloudevents/sdk-go/v2/event"
	"go.uber.org/zap"
	kbroker "knative.dev/eventing/pkg/broker"
	"knative.dev/eventing/pkg/kncloudevents"

	"pitboss/internal/telemetry"
)

// delivery is one event on its way to one Trigger's subscriber.
type delivery struct {
	t     *trigger
	m     *message
	tries int

	// Guarded by the Trigger's mu.
	root *root
	kept bool // it has, or gets, a place of its own
	over bool
}

// failure is why an event could not be delivered.
type failure struct {
	dest string // who refused it
	code int    // HTTP status; 500 where there was none
	body []byte // what was answered
}

// run makes the first attempt. It returns when the next event may be tried:
// the delivery is over, or waits for its next attempt. next, unless nil, has no
// worker yet for the reply.
func (d *delivery) run() (next *trigger) {
	if d.t.client == nil || !d.m.plain {
		d.dispatch()
		return nil
	}
	d.tries = 1
	a, err := d.t.client.post(d.m)
	switch {
	case err == nil && a.status < 300:
		next, failed, err := d.reply(a.reply)
		d.end(failed, err)
		return next
	case err == nil && a.status < 400 && a.header.Get("Location") != "": // which the dispatcher follows
		d.tries = 0
		d.dispatch()
	default:
		d.failed(a, err)
	}
	return nil
}

// failed looks at a failed first attempt with Knative's eyes.
func (d *delivery) failed(a answer, err error) {
	resp := a.response(err)
	again, _ := d.t.retry.CheckRetry(d.t.ctx, resp, nil)
	if !again || d.t.retry.RetryMax == 0 {
		if err != nil {
			a.status, a.body = http.StatusInternalServerError, []byte("dispatch error: "+err.Error())
		}
		d.end(&failure{dest: d.t.subscriber.URL.String(), code: a.status, body: a.body}, nil)
		return
	}
	d.t.retried.Add(1)
	d.wait()
	pause := d.t.retry.Backoff(0, resp)
	go func() {
		select {
		case <-time.After(pause):
			d.dispatch()
		case <-d.t.ctx.Done():
		}
	}()
}

// response is the answer as Knative's CheckRetry and Backoff take it.
func (a answer) response(err error) *http.Response {
	switch {
	case errors.Is(err, errReply), errors.Is(err, errTooLarge):
		return &http.Response{StatusCode: http.StatusBadGateway}
	case err != nil:
		return nil
	}
	return &http.Response{StatusCode: a.status, Header: a.header}
}

// dispatch makes the attempts that are left through Knative's dispatcher. It
// returns when the next event may be tried.
func (d *delivery) dispatch() {
	s := &sending{delivery: d, free: make(chan struct{})}
	if d.tries > 0 {
		s.yield()
	}
	go func() {
		defer s.yield()
		failed, err := s.send()
		d.end(failed, err)
	}()
	<-s.free
}

// end finishes the delivery: delivered, or refused for good and so a dead
// letter. With an error nothing is decided yet, and it is tried again.
func (d *delivery) end(failed *failure, err error) {
	if err == nil && failed != nil {
		if err = d.t.deadLetter(d.t.ctx, d.m, *failed, d.tries); errors.Is(err, ErrFull) {
			go d.letterLater(*failed)
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
		return // what is kept is delivered after the next start
	}
	e := d.m.event()
	d.t.b.cfg.Logger.Error("not delivered, tried again in a second", append(telemetry.Fields(&e), zap.String("trigger", d.t.name), zap.Error(err))...)
	d.wait()
	time.AfterFunc(time.Second, func() { d.t.again(d) })
}

// letterLater makes a dead letter once the log can be written again: the
// subscriber is not asked again for it. Until then the event keeps its place.
func (d *delivery) letterLater(f failure) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-d.t.ctx.Done():
			return // it is delivered, and refused, again after the next start
		case <-tick.C:
		}
		if d.t.b.Trouble() == nil {
			d.end(&f, nil)
			return
		}
	}
}

// reply offers what the subscriber answered, with the TTL of the event it
// answers. A reply that ingress would refuse fails the delivery. next is offer's.
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
	r := d.root
	r.left.Add(1)
	d.t.mu.Unlock()
	d.t.replies.Add(1)
	return b.offer(m, r), nil, nil
}

// errReply is a 2xx answer that is neither empty nor an event: it counts as
// 502, and so is retried, as the Broker's filter does.
var errReply = errors.New("the reply is neither empty nor a CloudEvent")

func readReply(header []string, body []byte) (*message, error) {
	if len(body) == 0 && valueOf(header, "Ce-Specversion") == "" {
		return nil, nil
	}
	m, err := readHTTP(header, body)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errReply, err)
	}
	return m, nil
}

// sending is a delivery in the hands of Knative's dispatcher.
type sending struct {
	*delivery
	free chan struct{} // closed when the next event may be tried
	once sync.Once
	out  *message // the reply
}

func (s *sending) yield() { s.once.Do(func() { close(s.free) }) }

// send makes the attempts that are left. A failure is the subscriber's last
// word; an error means that nothing is decided yet.
func (s *sending) send() (*failure, error) {
	t := s.t
	rc := t.retry
	rc.RetryMax -= s.tries
	rc.CheckRetry, rc.Backoff = s.check(rc.CheckRetry), s.backoff(rc.Backoff, s.tries)
	e := s.m.event().Clone()
	opts := []kncloudevents.SendOption{kncloudevents.WithHeader(s.m.header()), kncloudevents.WithRetryConfig(&rc), kncloudevents.WithEventFormat(t.format)}
	info, err := t.b.dispatcher.SendMessage(t.ctx, binding.ToMessage(&e), t.subscriber, opts...)
	if t.ctx.Err() != nil && err != nil {
		return nil, t.ctx.Err()
	}
	if err != nil {
		f := &failure{dest: t.subscriber.URL.String(), code: info.ResponseCode, body: info.ResponseBody}
		if f.code <= 0 { // no request was made
			f.code, f.body = http.StatusInternalServerError, []byte(err.Error())
		}
		return f, nil
	}
	next, failed, err := s.reply(s.out)
	go next.deliver()
	return failed, err
}

// check wraps Knative's CheckRetry: it counts the attempts and reads the reply.
func (s *sending) check(next kncloudevents.CheckRetry) kncloudevents.CheckRetry {
	return func(ctx context.Context, resp *http.Response, err error) (bool, error) {
		s.tries++
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		if resp != nil && resp.StatusCode >= 200 && resp.StatusCode < 300 {
			s.read(resp)
		}
		return next(ctx, resp, err)
	}
}

func (s *sending) read(resp *http.Response) {
	limit := s.t.b.cfg.MaxBody
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	resp.Body.Close()
	resp.Body = http.NoBody
	if err == nil && int64(len(body)) > limit {
		err = errTooLarge
	}
	if err == nil {
		s.out, err = readReply(pairsOf(resp.Header), body)
	}
	if err != nil {
		resp.StatusCode, resp.Status = http.StatusBadGateway, "502 Bad Gateway"
		resp.Body = io.NopCloser(strings.NewReader(err.Error()))
	}
}

// backoff wraps Knative's Backoff: an event that waits gives its slot to the
// next one, so that a poisoned event holds nobody up.
func (s *sending) backoff(next kncloudevents.Backoff, before int) kncloudevents.Backoff {
	return func(attempt int, resp *http.Response) time.Duration {
		s.t.retried.Add(1)
		s.wait()
		s.yield()
		return next(attempt+before, resp)
	}
}

// withTTL is the event as a dead letter has it, in a cluster too.
func (m *message) withTTL() (e ce.Event) {
	e = m.event().Clone()
	_ = kbroker.SetTTL(e.Context, m.ttl)
	return e
}
