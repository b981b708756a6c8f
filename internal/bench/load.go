package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	ce "github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"

	"pitboss/internal/event"
	"pitboss/internal/simulator"
)

// stampFormat has a fixed width, so that a request's time can be written over.
const stampFormat = "2006-01-02T15:04:05.000000000Z"

// request is a POST as bytes, ready to be written; stamp is where its
// receivedtime stands.
type request struct {
	raw   []byte
	stamp int
}

// requests prepares n events of a simulated world as POSTs to host.
func requests(w *simulator.World, n int, host string) ([]request, error) {
	out := make([]request, n)
	for i := range out {
		e := w.Next()
		r, err := requestOf(e, host)
		if err != nil {
			return nil, err
		}
		out[i] = r
	}
	return out, nil
}

func requestOf(e *ce.Event, host string) (r request, err error) {
	e.SetExtension(event.ExtReceived, stampFormat)
	req, err := cehttp.NewHTTPRequestFromEvent(context.Background(), "http://"+host+"/", *e)
	if err != nil {
		return r, fmt.Errorf("bench: %w", err)
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return r, fmt.Errorf("bench: %w", err)
	}
	var buf bytes.Buffer
	fmt.Fprintf(&buf, "POST / HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n", host, len(body))
	if err := req.Header.Write(&buf); err != nil {
		return r, fmt.Errorf("bench: %w", err)
	}
	buf.WriteString("\r\n")
	buf.Write(body)
	r.raw = buf.Bytes()
	if r.stamp = bytes.Index(r.raw, []byte(stampFormat)); r.stamp < 0 {
		return r, errors.New("bench: the request carries no receivedtime")
	}
	return r, nil
}

// conn is one keep-alive connection. It writes prepared requests, since the
// loader shares the machine with what it measures.
type conn struct {
	net.Conn
	in *bufio.Reader
}

func dial(host string) (*conn, error) {
	c, err := net.Dial("tcp", host)
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	return &conn{c, bufio.NewReader(c)}, nil
}

// post sends r stamped with at and returns the status.
func (c *conn) post(r request, at time.Time) (int, error) {
	at.UTC().AppendFormat(r.raw[r.stamp:r.stamp], stampFormat)
	if _, err := c.Write(r.raw); err != nil {
		return 0, fmt.Errorf("bench: %w", err)
	}
	res, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return 0, fmt.Errorf("bench: %w", err)
	}
	_, err = io.Copy(io.Discard, res.Body)
	res.Body.Close()
	return res.StatusCode, err
}

// Load is what a loader saw.
type Load struct {
	Sent, Failed int64
	Elapsed      time.Duration
	Ack          *hdrhistogram.Histogram // µs from the intended time to the acknowledgement
}

// openLoop sends the requests at rate per second at exponentially spaced
// times that are fixed beforehand: a send that is late counts its waiting
// (no coordinated omission). rate 0: one after the other, as fast as conns allow.
func openLoop(ctx context.Context, host string, reqs []request, rate float64, conns int) (Load, error) {
	l := Load{Ack: newHistogram()}
	due := schedule(len(reqs), rate)
	var next, sent, failed atomic.Int64
	var mu sync.Mutex
	var wg sync.WaitGroup
	errs := make(chan error, conns)
	begin := time.Now()
	for range conns {
		c, err := dial(host)
		if err != nil {
			return l, err
		}
		defer c.Close()
		wg.Add(1)
		go func() {
			defer wg.Done()
			h := newHistogram()
			for ctx.Err() == nil {
				i := next.Add(1) - 1
				if i >= int64(len(reqs)) {
					break
				}
				at := time.Now()
				if due != nil {
					at = begin.Add(due[i])
					time.Sleep(time.Until(at))
				}
				status, err := c.post(reqs[i], at)
				if err != nil {
					errs <- err
					return
				}
				sent.Add(1)
				if status != http.StatusAccepted && status != http.StatusOK {
					failed.Add(1)
				}
				_ = h.RecordValue(time.Since(at).Microseconds())
			}
			mu.Lock()
			l.Ack.Merge(h)
			mu.Unlock()
		}()
	}
	wg.Wait()
	l.Elapsed, l.Sent, l.Failed = time.Since(begin), sent.Load(), failed.Load()
	select {
	case err := <-errs:
		return l, err
	default:
		return l, ctx.Err()
	}
}

// schedule is n offsets of a Poisson process, or nil for rate 0.
func schedule(n int, rate float64) []time.Duration {
	if rate == 0 {
		return nil
	}
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	out := make([]time.Duration, n)
	at := 0.0
	for i := range out {
		at += rng.ExpFloat64() / rate
		out[i] = time.Duration(at * float64(time.Second))
	}
	return out
}

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, int64(10*time.Minute/time.Microsecond), 3)
}
