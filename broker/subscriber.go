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
	// deliver makes one attempt and ends when ctx does. An error means that
	// there was no answer, or none that can be used.
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
// reason. The event is the function's own copy.
type Function func(ctx context.Context, e *ce.Event) (reply *ce.Event, status int, reason string)

// inProcess delivers to a Function.
//
// Each call runs on a goroutine of its own, so that a function which ignores
// its context cannot hold up the Broker beyond the time-out: the attempt has
// then failed, and what the function answers later is dropped, as it is where
// an HTTP client closes the connection. A goroutine that is done waits for the
// next call, because its stack has already grown to what the function needs.
type inProcess struct {
	name    string
	f       Function
	maxBody int64
	log     *zap.Logger

	calls   chan *call
	closed  chan struct{}
	running atomic.Int64 // calls under way
	workers atomic.Int64 // goroutines, those that wait for a call included
}

type call struct {
	ctx  context.Context
	m    *message
	done chan outcome // has room, so that nobody need listen
}

type outcome struct {
	answer
	err error
}

func newInProcess(name string, f Function, maxBody int64, log *zap.Logger) *inProcess {
	return &inProcess{name: name, f: f, maxBody: maxBody, log: log, calls: make(chan *call), closed: make(chan struct{})}
}

func (p *inProcess) address() string { return "http://" + p.name + "/" }

func (p *inProcess) deliver(ctx context.Context, m *message) (answer, error) {
	c := &call{ctx: ctx, m: m, done: make(chan outcome, 1)}
	p.running.Add(1)
	select {
	case p.calls <- c:
	default:
		go p.work(c)
	}
	select {
	case o := <-c.done:
		return o.answer, o.err
	case <-ctx.Done():
		return answer{}, ctx.Err()
	}
}

func (p *inProcess) work(c *call) {
	p.workers.Add(1)
	defer p.workers.Add(-1)
	for {
		a, err := p.call(c)
		p.running.Add(-1)
		c.done <- outcome{a, err}
		select {
		case c = <-p.calls:
		case <-p.closed:
			return
		}
	}
}

// call has the function answer a copy of the event, which is shared with other
// Triggers, and copies the reply, of which the function may keep parts.
func (p *inProcess) call(c *call) (a answer, err error) {
	defer func() {
		if v := recover(); v != nil {
			p.log.Error("panic", zap.String("function", p.name), zap.Any("panic", v), zap.ByteString("stack", debug.Stack()))
			a, err = answer{status: http.StatusInternalServerError, body: []byte("panic; the log has it")}, nil
		}
	}()
	e, err := c.m.make()
	if err != nil {
		return answer{}, err
	}
	e.DataEncoded = bytes.Clone(e.DataEncoded)
	reply, status, reason := p.f(c.ctx, e)
	if status < 200 || status > 299 {
		return answer{status: status, body: []byte(reason)}, nil
	}
	if reply == nil {
		return answer{status: status}, nil
	}
	if int64(len(reply.Data())) > p.maxBody {
		return answer{}, errTooLarge
	}
	m, err := messageOf(reply, nil)
	if err != nil {
		return answer{}, errors.Join(errReply, err)
	}
	m.data = bytes.Clone(m.data)
	return answer{status: status, reply: m}, nil
}

func (p *inProcess) close(ctx context.Context) {
	for p.running.Load() > 0 && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	close(p.closed)
}
