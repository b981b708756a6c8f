package broker

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"go.uber.org/zap"
)

// subscriber receives a Trigger's events: an HTTP server or a function in this
// process. Filters, retries, timeouts, replies and dead letters are the same for
// both; delivery.go implements them.
type subscriber interface {
	// deliver makes one attempt. It should return when ctx ends. A function may not
	// return then; the Broker stops waiting for it. An error means that there was no
	// usable answer.
	deliver(ctx context.Context, m *message) (answer, error)
	// address identifies the subscriber in a dead letter (knativeerrordest).
	address() string
	// close releases the subscriber's resources when the running attempts or ctx
	// have ended.
	close(ctx context.Context)
}

// answer is the answer of a subscriber.
type answer struct {
	status int
	body   []byte   // the reason in an answer other than 2xx
	reply  *message // the reply in a 2xx answer, or nil
}

func (a answer) ok() bool { return a.status >= 200 && a.status < 300 }

// Function is a function in the Broker's process. It answers as it would over HTTP:
// with a 2xx status and a reply or nil, or with another status and the reason. The
// function owns the event and the reply, and may change both: the Broker copies them.
type Function func(ctx context.Context, e *ce.Event) (reply *ce.Event, status int, reason string)

// inProcess delivers to a Function, on the goroutine that makes the attempt.
type inProcess struct {
	name    string
	f       Function
	maxBody int64
	log     *zap.Logger
	running atomic.Int64 // running calls, including those that timed out
}

func newInProcess(name string, f Function, maxBody int64, log *zap.Logger) *inProcess {
	return &inProcess{name: name, f: f, maxBody: maxBody, log: log}
}

func (p *inProcess) address() string { return "http://" + p.name + "/" }

func (p *inProcess) deliver(ctx context.Context, m *message) (a answer, err error) {
	p.running.Add(1)
	defer func() {
		if v := recover(); v != nil {
			p.log.Error("the function panicked", zap.String("function", p.name), zap.Any("panic", v), zap.ByteString("stack", debug.Stack()))
			a, err = answer{status: http.StatusInternalServerError, body: []byte("panic; the log has it")}, nil
		}
		p.running.Add(-1)
	}()
	e, err := m.own()
	if err != nil {
		return answer{}, err
	}
	e.DataEncoded = bytes.Clone(e.DataEncoded)
	reply, status, reason := p.f(ctx, e)
	if status < 200 || status > 299 {
		return answer{status: status, body: []byte(reason)}, nil
	}
	if reply == nil {
		return answer{status: status}, nil
	}
	if int64(len(reply.Data())) > p.maxBody {
		return answer{}, errTooLarge
	}
	out, err := messageOf(reply, nil)
	if err != nil {
		return answer{}, errors.Join(errReply, err)
	}
	out.data = bytes.Clone(out.data) // the function may still use the reply's data
	out.adopt(reply)
	return answer{status: status, reply: out}, nil
}

func (p *inProcess) close(ctx context.Context) {
	for p.running.Load() > 0 && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
}
