package functions

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttpadaptor"
	"go.uber.org/zap"

	"pitboss/internal/setup"
)

const (
	connectionTimeout = 30 * time.Second // for a request, for its answer and between two: func-go's own
	// ioBuffer takes nearly every event whole, so that it needs one system call.
	// Attributes beyond it are refused with 431.
	ioBuffer = 16 << 10
)

// connections answers the events of connections that a Broker keeps open, with
// fasthttp: a request that is only acknowledged takes 7 µs of CPU there and 18
// in net/http, which makes a map of its headers and has another goroutine watch
// the connection meanwhile. func-go's server, which is net/http's, accepts a
// connection and loses it with the first event in binary mode that comes over
// it. What follows on it and is none goes back to func-go's handler.
type connections struct {
	answer func(context.Context, *ce.Event, string) (*ce.Event, *failure)
	server fasthttp.Server

	once   sync.Once
	others fasthttp.RequestHandler // func-go's handler; set before the first connection is served

	mu       sync.RWMutex // taking is reading: stop begins while nobody takes
	stopping atomic.Bool
	busy     atomic.Int64 // connections with a request under way
}

func newConnections(answer func(context.Context, *ce.Event, string) (*ce.Event, *failure)) *connections {
	c := &connections{answer: answer}
	c.server = fasthttp.Server{
		Handler: c.handle, ErrorHandler: unreadableRequest, ConnState: c.changed, MaxRequestBodySize: maxBody,
		ReadTimeout: connectionTimeout, WriteTimeout: connectionTimeout, IdleTimeout: connectionTimeout,
		ReadBufferSize: ioBuffer, WriteBufferSize: ioBuffer,
		NoDefaultServerHeader: true, NoDefaultContentType: true, DisablePreParseMultipartForm: true,
		Logger: zap.NewStdLog(zap.NewNop()), // what goes wrong on a connection, its sender is told
	}
	return c
}

// connection is one that was taken from net/http.
type connection struct {
	net.Conn
	first io.Reader // what net/http had read of it; nil once it is read again
	busy  bool      // of the goroutine that serves it
}

func (c *connection) Read(b []byte) (int, error) {
	if c.first != nil {
		if n, err := c.first.Read(b); err == nil {
			return n, nil
		}
		c.first = nil
	}
	return c.Conn.Read(b)
}

// take takes over the connection of r, an event in binary mode, and answers r
// and what follows. false: r, whose body is as it was, is the caller's to answer.
func (c *connections) take(w http.ResponseWriter, r *http.Request) bool {
	server, ok := r.Context().Value(http.ServerContextKey).(*http.Server) // not of what comes back from a connection
	if !ok || r.ProtoMajor != 1 || r.ProtoMinor != 1 || r.Close || r.TLS != nil || r.URL.Path != "/" || r.Header.Get("Expect") != "" ||
		r.ContentLength < 0 || r.ContentLength > maxBody || r.Header.Get("Ce-Specversion") != ce.CloudEventsVersionV1 {
		return false
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.stopping.Load() {
		return false
	}
	body := make([]byte, r.ContentLength)
	if n, err := io.ReadFull(r.Body, body); err != nil {
		r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body[:n]), r.Body)) // which gives the same error
		return false
	}
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		r.Body = io.NopCloser(bytes.NewReader(body))
		return false
	}
	c.once.Do(func() { c.others = fasthttpadaptor.NewFastHTTPHandler(server.Handler) })
	taken := &connection{Conn: conn, first: again(r, body, rw.Reader)}
	c.changed(taken, fasthttp.StateActive) // so that stop waits for it from now on
	go func() { _ = c.server.ServeConn(taken) }()
	return true
}

// again is the bytes of a request that was read, and of what came behind it.
func again(r *http.Request, body []byte, read interface {
	io.Reader
	Buffered() int
}) io.Reader {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n", r.Method, r.URL.RequestURI(), r.Host, len(body))
	_ = r.Header.WriteSubset(&b, map[string]bool{"Content-Length": true})
	b.WriteString("\r\n")
	b.Write(body)
	_, _ = io.CopyN(&b, read, int64(read.Buffered()))
	return &b
}

// changed counts the connections that are busy.
func (c *connections) changed(conn net.Conn, now fasthttp.ConnState) {
	taken, ok := conn.(*connection)
	if busy := now == fasthttp.StateActive; ok && busy != taken.busy {
		taken.busy = busy
		if busy {
			c.busy.Add(1)
		} else {
			c.busy.Add(-1)
		}
	}
}

// handle answers one request of a connection that was taken.
func (c *connections) handle(ctx *fasthttp.RequestCtx) {
	if c.stopping.Load() {
		ctx.SetConnectionClose()
	}
	if !ctx.IsPost() || string(ctx.Path()) != "/" || string(ctx.Request.Header.Peek("Ce-Specversion")) != ce.CloudEventsVersionV1 {
		c.others(ctx)
		return
	}
	defer func() { // as net/http does: one event that nobody can handle must not end the others
		if p := recover(); p != nil {
			setup.Logger("function").Error("panic", zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
			ctx.Response.Reset()
			ctx.Error("panic; the function's log has it", http.StatusInternalServerError)
		}
	}()
	e, traceparent, err := decodeFast(&ctx.Request)
	if err != nil {
		refused(err).write(ctx)
		return
	}
	reply, failed := c.answer(context.Background(), e, traceparent) // ctx is another request's soon
	switch {
	case failed != nil:
		failed.write(ctx)
	case reply != nil:
		headers(reply, ctx.Response.Header.Set)
		ctx.Response.SetBodyRaw(reply.Data())
	}
}

// decodeFast is decode for a request of version 1.0 in binary mode.
func decodeFast(r *fasthttp.Request) (e *ce.Event, traceparent string, err error) {
	size := 0
	for _, value := range r.Header.All() {
		size += len(value)
	}
	joined := make([]byte, 0, size) // the values share one string
	for _, value := range r.Header.All() {
		joined = append(joined, value...)
	}
	values := string(joined)
	e = &ce.Event{Context: new(ce.EventContextV1)}
	for name, value := range r.Header.All() {
		v := values[:len(value)]
		values = values[len(value):]
		if string(name) == "Traceparent" {
			traceparent = v
		} else if err := attribute(e, string(name), v); err != nil {
			return nil, "", err
		}
	}
	if body := r.Body(); len(body) > 0 {
		e.DataEncoded = bytes.Clone(body)
	}
	return e, traceparent, e.Validate()
}

func (f *failure) write(ctx *fasthttp.RequestCtx) { ctx.Error(f.reason, f.status) }

// unreadableRequest answers what fasthttp cannot read.
func unreadableRequest(ctx *fasthttp.RequestCtx, err error) {
	var small *fasthttp.ErrSmallBuffer
	var timeout net.Error
	switch {
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		refused(&http.MaxBytesError{Limit: maxBody}).write(ctx)
	case errors.As(err, &small):
		ctx.Error(fmt.Sprintf("not a CloudEvent: its attributes are larger than %d bytes", ioBuffer), http.StatusRequestHeaderFieldsTooLarge)
	case errors.As(err, &timeout) && timeout.Timeout():
		ctx.Error("the request did not come in time", http.StatusRequestTimeout)
	default:
		ctx.Error(short("not HTTP: "+err.Error()), http.StatusBadRequest)
	}
}

// stop waits until no event is under way; the connection of each that still
// comes is closed after its answer.
func (c *connections) stop(ctx context.Context) {
	c.mu.Lock()
	c.stopping.Store(true)
	c.mu.Unlock()
	for c.busy.Load() > 0 && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
}
