package bench

import (
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/valyala/fasthttp"
)

// consumer is the consuming team: it takes what Triggers send and measures how
// long ago the platform meant to POST the event it came of.
type consumer struct {
	ln net.Listener

	// seen, unless nil, gets the id of every recommendation, issued or suppressed.
	seen func(id string)

	mu    sync.Mutex
	count map[string]int64 // by event type
	hist  *hdrhistogram.Histogram
	last  time.Time
}

func newConsumer() (*consumer, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	c := &consumer{ln: ln}
	c.reset()
	server := &fasthttp.Server{Handler: c.take, ReadBufferSize: 16 << 10}
	go server.Serve(ln)
	return c, nil
}

func (c *consumer) addr() string { return c.ln.Addr().String() }

// close takes nothing more. Connections that are open stay so until the Broker,
// their only client, ends.
func (c *consumer) close() { _ = c.ln.Close() }

func (c *consumer) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count, c.hist = map[string]int64{}, newHistogram()
}

// take reads the headers only: binary mode has all that is measured.
func (c *consumer) take(ctx *fasthttp.RequestCtx) {
	h := &ctx.Request.Header
	c.note(string(h.Peek("Ce-Type")), string(h.Peek("Ce-Id")), string(h.Peek("Ce-Receivedtime")))
}

// note counts and measures an event that has just come.
func (c *consumer) note(typ, id, received string) {
	now := time.Now()
	at, err := time.Parse(time.RFC3339Nano, received)
	if c.seen != nil && (typ == typeIssued || typ == typeSuppressed) {
		c.seen(id)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = now
	c.count[typ]++
	if err == nil && typ != typeScored {
		_ = c.hist.RecordValue(now.Sub(at).Microseconds())
	}
}

// decided is how many recommendations, issued and suppressed, came so far, and when the last did.
func (c *consumer) decided() (n int64, last time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.count[typeIssued] + c.count[typeSuppressed], c.last
}

// histogram is a copy of the latencies so far, µs.
func (c *consumer) histogram() *hdrhistogram.Histogram {
	c.mu.Lock()
	defer c.mu.Unlock()
	return hdrhistogram.Import(c.hist.Export())
}
