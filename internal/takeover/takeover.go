// Package takeover answers the events of connections that a sender keeps open
// with fasthttp: a request that is only acknowledged takes 7 µs of CPU there and
// 18 in net/http, which makes a map of its headers and has another goroutine
// watch the connection meanwhile. A server of net/http's accepts a connection and
// loses it with the first event in binary mode that comes over it. What follows
// on it and is none goes back to that server's handler.
package takeover

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

	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttpadaptor"
	"go.uber.org/zap"
)

const (
	timeout = 30 * time.Second // for a request, for its answer and between two: func-go's own
	// Buffer is how much of a request is read at once, bytes: nearly every event
	// whole; four times as much where several come together. Attributes beyond it
	// are refused with 431.
	Buffer = 16 << 10
	// specversion is that of the events that are answered here.
	specversion = "1.0"
)

// Config says what events are and who answers them.
type Config struct {
	Path    func(path string) bool // where events are POSTed
	MaxBody int                    // of a request, bytes
	// Pipeline is how many requests of one connection are answered at once: see
	// [Pipelining]; 0, 1: one after the other.
	Pipeline int
	// Handle answers one event of version 1.0 in binary mode. The request is not
	// to be kept.
	Handle fasthttp.RequestHandler
	// Unreadable answers what is too large or no request at all; the connection
	// is closed after it.
	Unreadable func(ctx *fasthttp.RequestCtx, status int, reason string)
	Log        func() *zap.Logger // for panics
}

// Connections are those that were taken.
type Connections struct {
	cfg    Config
	buffer int // of a connection, each way
	jobs   chan job
	idle   chan struct{} // closed when there is nothing more to do

	once   sync.Once
	others fasthttp.RequestHandler // net/http's handler; set before the first connection is served

	mu       sync.RWMutex // taking is reading: Stop begins while nobody takes
	stopping atomic.Bool
	busy     atomic.Int64 // connections with a request under way
	taken    atomic.Int64
	open     sync.Map // *connection → nothing
}

// New returns no connections yet.
func New(cfg Config) *Connections {
	c := &Connections{cfg: cfg, buffer: Buffer, jobs: make(chan job), idle: make(chan struct{})}
	if cfg.Pipeline > 1 {
		c.buffer *= 4
	}
	return c
}

// Taken is how many connections were taken so far.
func (c *Connections) Taken() int64 { return c.taken.Load() }

// connection is one that was taken from net/http.
type connection struct {
	net.Conn
	first io.Reader // what net/http had read of it; nil once it is read again
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

// Take takes over the connection of r, an event in binary mode, and answers r
// and what follows. false: r, whose body is as it was, is the caller's to answer.
func (c *Connections) Take(w http.ResponseWriter, r *http.Request) bool {
	server, ok := r.Context().Value(http.ServerContextKey).(*http.Server) // not of what comes back from a connection
	if !ok || r.Method != http.MethodPost || r.ProtoMajor != 1 || r.ProtoMinor != 1 || r.Close || r.TLS != nil || !c.cfg.Path(r.URL.Path) ||
		r.Header.Get("Expect") != "" || r.ContentLength < 0 || r.ContentLength > int64(c.cfg.MaxBody) || r.Header.Get("Ce-Specversion") != specversion {
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
	c.taken.Add(1)
	taken := &connection{Conn: conn, first: again(r, body, rw.Reader)}
	c.busy.Add(1) // so that Stop waits for it from now on
	c.open.Store(taken, nil)
	go func() {
		defer c.open.Delete(taken)
		c.serve(taken) // it closes the connection
	}()
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

// handle answers one request of a connection that was taken.
func (c *Connections) handle(ctx *fasthttp.RequestCtx) {
	defer func() { // as net/http does: one event that nobody can handle must not end the others
		if p := recover(); p != nil {
			c.cfg.Log().Error("panic", zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
			ctx.Response.Reset()
			ctx.Error("panic; the log has it", http.StatusInternalServerError)
		}
	}()
	if !ctx.IsPost() || !c.cfg.Path(string(ctx.Path())) || string(ctx.Request.Header.Peek("Ce-Specversion")) != specversion {
		ctx.SetUserValue(lent, true)
		c.others(ctx)
		return
	}
	c.cfg.Handle(ctx)
}

// unreadable names what fasthttp cannot read.
func (c *Connections) unreadable(ctx *fasthttp.RequestCtx, err error) {
	var small *fasthttp.ErrSmallBuffer
	var slow net.Error
	switch {
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		c.cfg.Unreadable(ctx, http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is larger than %d bytes", c.cfg.MaxBody))
	case errors.As(err, &small):
		c.cfg.Unreadable(ctx, http.StatusRequestHeaderFieldsTooLarge, fmt.Sprintf("not a CloudEvent: its attributes are larger than %d bytes", c.buffer))
	case errors.Is(err, errExpect):
		c.cfg.Unreadable(ctx, http.StatusExpectationFailed, err.Error())
	case errors.As(err, &slow) && slow.Timeout():
		c.cfg.Unreadable(ctx, http.StatusRequestTimeout, "the request did not come in time")
	default:
		c.cfg.Unreadable(ctx, http.StatusBadRequest, "not HTTP: "+err.Error())
	}
}

// Stop waits until no event is under way; the connection of each that still
// comes is closed after its answer.
func (c *Connections) Stop(ctx context.Context) {
	c.mu.Lock()
	if !c.stopping.Swap(true) {
		close(c.idle)
	}
	c.mu.Unlock()
	for c.busy.Load() > 0 && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
}

// Close closes every connection; what is under way gets no answer.
func (c *Connections) Close() {
	for taken := range c.open.Range {
		taken.(*connection).Close()
	}
}
