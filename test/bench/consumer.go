package bench

import (
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/valyala/fasthttp"
)

// consumer stands for a consuming team. It receives what Triggers send and measures the
// time since the intended POST of the event that led to it.
type consumer struct {
	ln net.Listener

	// seen, unless nil, is called with the id of every issued or suppressed recommendation.
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

// close accepts no more connections. Open ones stay open until the Broker, their only
// client, ends.
func (c *consumer) close() { _ = c.ln.Close() }

func (c *consumer) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count, c.hist = map[string]int64{}, newHistogram()
}

// take reads only the headers, which hold all that is measured in binary mode.
func (c *consumer) take(ctx *fasthttp.RequestCtx) {
	h := &ctx.Request.Header
	c.note(string(h.Peek("Ce-Type")), string(h.Peek("Ce-Id")), string(h.Peek("Ce-Receivedtime")))
}

// note counts and measures an event that has just arrived.
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

// decided returns how many issued and suppressed recommendations have arrived, and when
// the last one did.
func (c *consumer) decided() (n int64, last time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.count[typeIssued] + c.count[typeSuppressed], c.last
}

// histogram returns a copy of the latencies so far, in µs.
func (c *consumer) histogram() *hdrhistogram.Histogram {
	c.mu.Lock()
	defer c.mu.Unlock()
	return hdrhistogram.Import(c.hist.Export())
}
