package bench

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// consumer is the consuming team: it takes what Triggers send and measures how
// long ago the platform meant to POST the event it came of.
type consumer struct {
	ln     net.Listener
	server *http.Server

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
	c.server = &http.Server{Handler: c, ReadHeaderTimeout: 5 * time.Second}
	go c.server.Serve(ln) //nolint:errcheck // ends with Close
	return c, nil
}

func (c *consumer) addr() string { return c.ln.Addr().String() }

func (c *consumer) close() { _ = c.server.Close() }

func (c *consumer) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count, c.hist = map[string]int64{}, newHistogram()
}

// ServeHTTP reads the headers only: binary mode has all that is measured.
func (c *consumer) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	now := time.Now()
	_, _ = io.Copy(io.Discard, r.Body)
	at, err := time.Parse(time.RFC3339Nano, r.Header.Get("Ce-Receivedtime"))
	typ := r.Header.Get("Ce-Type")
	if c.seen != nil && (typ == typeIssued || typ == typeSuppressed) {
		c.seen(r.Header.Get("Ce-Id"))
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
