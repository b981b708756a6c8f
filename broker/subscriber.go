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

// subscriber is whom a Trigger delivers to: a server that is reached over HTTP
// or a function in this process. Filters, retries, time-outs, replies and dead
// letters are the same for both; they are decided in delivery.go.
type subscriber interface {
	// deliver makes one attempt. It should end when ctx does; a function may not,
	// and then nobody waits for it. An error means that there was no answer, or
	// none that can be used.
	deliver(ctx context.Context, m *message) (answer, error)
	// address is what a dead letter says of the subscriber (knativeerrordest).
	address() string
	// close releases what the subscriber holds, once attempts under way have
	// ended or ctx has.
	close(ctx context.Context)
}

// answer is what a subscriber said.
type answer struct {
	status int
	body   []byte   // of an answer that is not 2xx
	reply  *message // of an answer that is; nil: none
}

func (a answer) ok() bool { return a.status >= 200 && a.status < 300 }

// Function is a function in the Broker's own process. It answers as it would
// over HTTP: with a reply or nil, or with a status that is not 2xx and the
// reason. The event is the function's own copy, and so is the reply.
type Function func(ctx context.Context, e *ce.Event) (reply *ce.Event, status int, reason string)

// inProcess delivers to a Function, on the goroutine that makes the attempt.
type inProcess struct {
	name    string
	f       Function
	maxBody int64
	log     *zap.Logger
	running atomic.Int64 // calls under way, those that nobody waits for included
}

func newInProcess(name string, f Function, maxBody int64, log *zap.Logger) *inProcess {
	return &inProcess{name: name, f: f, maxBody: maxBody, log: log}
}

func (p *inProcess) address() string { return "http://" + p.name + "/" }

func (p *inProcess) deliver(ctx context.Context, m *message) (a answer, err error) {
	p.running.Add(1)
	defer func() {
		if v := recover(); v != nil {
			p.log.Error("panic", zap.String("function", p.name), zap.Any("panic", v), zap.ByteString("stack", debug.Stack()))
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
	out.data = bytes.Clone(out.data) // the function may keep its own
	out.adopt(reply)
	return answer{status: status, reply: out}, nil
}

func (p *inProcess) close(ctx context.Context) {
	for p.running.Load() > 0 && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
}
