package broker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/binding"
	ce "github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
	kbroker "knative.dev/eventing/pkg/broker"
	"knative.dev/eventing/pkg/eventfilter"
	"knative.dev/eventing/pkg/kncloudevents"
)

// delivery is one event on its way to one Trigger's subscriber.
type delivery struct {
	t       *trigger
	ctx     context.Context // ends when the Broker stops
	msg     jetstream.Msg
	since   time.Time
	tries   int
	waiting bool      // gave its slot back because it waits for a retry
	out     *ce.Event // the reply
}

// failure is why an event could not be delivered.
type failure struct {
	dest string // who refused it
	code int    // HTTP status; 500 where there was none
	body []byte // what was answered
}

// run delivers the event, or stores it as a dead letter, and only then
// acknowledges it to the log. If the Broker stops in between it goes back.
func (d *delivery) run() {
	e, headers, err := readRecord(d.msg.Data())
	if err != nil {
		d.t.b.cfg.Logger.Error("record dropped", zap.String("trigger", d.t.name), zap.Error(err))
		_ = d.msg.TermWithReason(err.Error())
		return
	}
	ttl, err := kbroker.GetTTL(e.Context)
	if err != nil {
		ttl = defaultTTL
	}
	_ = kbroker.DeleteTTL(e.Context)
	if d.t.filter.Filter(d.ctx, e) == eventfilter.FailFilter {
		d.t.unmatched.Add(1)
		_ = d.msg.Ack()
		return
	}
	if !d.acquire() {
		d.putBack()
		return
	}
	failed, err := d.send(&e, headers, ttl)
	d.release()
	if err == nil && failed != nil {
		_ = kbroker.SetTTL(e.Context, ttl) // a dead letter has it, as in a cluster
		err = d.t.deadLetter(d.ctx, e, headers, *failed, d.tries)
	}
	if err != nil {
		if !errors.Is(err, context.Canceled) {
			d.t.b.cfg.Logger.Error("not delivered, goes back to the log", zap.String("trigger", d.t.name), zap.String("id", e.ID()), zap.Error(err))
		}
		d.putBack()
		return
	}
	_ = d.msg.Ack()
}

// putBack returns an event to the log that neither arrived nor could be stored
// as a dead letter: for a second, or until the next start if the Broker stops.
func (d *delivery) putBack() {
	if d.ctx.Err() != nil {
		_ = d.msg.Nak()
		return
	}
	_ = d.msg.NakWithDelay(time.Second)
}

// acquire takes a slot for the first attempt; false: the Broker stops.
func (d *delivery) acquire() bool {
	select {
	case d.t.slots <- struct{}{}:
		return true
	case <-d.ctx.Done():
		return false
	}
}

func (d *delivery) release() {
	if !d.waiting {
		<-d.t.slots
	}
}

// send makes the attempts and puts the reply into the log. A failure is the
// subscriber's last word; an error means that nothing is decided yet.
func (d *delivery) send(e *ce.Event, headers http.Header, ttl int32) (*failure, error) {
	rc := d.t.retry
	rc.CheckRetry, rc.Backoff = d.check(rc.CheckRetry), d.backoff(rc.Backoff)
	opts := []kncloudevents.SendOption{kncloudevents.WithHeader(headers), kncloudevents.WithRetryConfig(&rc), kncloudevents.WithEventFormat(d.t.format)}
	info, err := d.t.b.dispatcher.SendMessage(d.ctx, binding.ToMessage(e), d.t.subscriber, opts...)
	if d.ctx.Err() != nil && err != nil {
		return nil, d.ctx.Err()
	}
	if err != nil {
		f := &failure{dest: d.t.subscriber.URL.String(), code: info.ResponseCode, body: info.ResponseBody}
		if f.code <= 0 { // no request was made
			f.code, f.body = http.StatusInternalServerError, []byte(err.Error())
		}
		return f, nil
	}
	d.t.delivered.Add(1)
	return d.reply(info, ttl)
}

// reply puts the event the subscriber answered with, if any, back in, with the
// TTL of the event it answers. A reply that ingress refuses fails the delivery.
func (d *delivery) reply(info *kncloudevents.DispatchInfo, ttl int32) (*failure, error) {
	if d.out == nil {
		return nil, nil
	}
	_ = kbroker.SetTTL(d.out.Context, ttl)
	err := d.t.b.accept(d.ctx, d.out, passThrough(info.ResponseHeader))
	var refused *refusal
	if errors.As(err, &refused) {
		return &failure{dest: d.t.b.URL() + d.t.b.path(), code: refused.status, body: []byte(refused.Error())}, nil
	}
	if err == nil {
		d.t.replies.Add(1)
	}
	return nil, err
}

// check wraps Knative's CheckRetry: it counts the attempts and reads the
// reply. An answer that is neither empty nor an event becomes 502, and so is
// retried, as the Broker's filter does.
func (d *delivery) check(next kncloudevents.CheckRetry) kncloudevents.CheckRetry {
	return func(ctx context.Context, resp *http.Response, err error) (bool, error) {
		d.tries++
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		if resp != nil && resp.StatusCode >= 200 && resp.StatusCode < 300 {
			d.readReply(resp)
		}
		return next(ctx, resp, err)
	}
}

func (d *delivery) readReply(resp *http.Response) {
	limit := d.t.b.cfg.MaxBody
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	resp.Body.Close()
	resp.Body = http.NoBody
	if err == nil && int64(len(body)) > limit {
		err = fmt.Errorf("the reply is larger than %d bytes", limit)
	}
	if err == nil && len(body) == 0 && resp.Header.Get("Ce-Specversion") == "" {
		return
	}
	if err == nil {
		d.out, err = binding.ToEvent(d.ctx, cehttp.NewMessage(resp.Header, io.NopCloser(bytes.NewReader(body))))
	}
	if err != nil {
		detail := "the reply is neither empty nor a CloudEvent: " + err.Error()
		resp.StatusCode, resp.Status = http.StatusBadGateway, "502 Bad Gateway"
		resp.Body = io.NopCloser(strings.NewReader(detail))
	}
}

// backoff wraps Knative's Backoff: an event that waits gives its slot to the
// next one, so that a poisoned event holds nobody up.
func (d *delivery) backoff(next kncloudevents.Backoff) kncloudevents.Backoff {
	return func(attempt int, resp *http.Response) time.Duration {
		d.t.retried.Add(1)
		if !d.waiting {
			d.release()
			d.waiting = true
		}
		return next(attempt, resp)
	}
}
