// Package bench measures Pitboss as it is deployed (see package system) with an
// open-loop loader that notices queueing.
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
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	ce "github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/valyala/fasthttp"
	"golang.org/x/sync/errgroup"

	"pitboss/internal/event"
)

// stampFormat has a fixed width, so that a request's time can be overwritten.
const stampFormat = "2006-01-02T15:04:05.000000000Z"

// request is a POST as bytes, ready to be written. stamp is the offset of its
// receivedtime.
type request struct {
	raw   []byte
	stamp int
}

// source yields events: a simulated world or recorded play.
type source interface{ Next() *ce.Event }

// requests prepares n events as POSTs to host.
func requests(w source, n int, host string) ([]request, error) {
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

// conn is a keep-alive connection. It writes prepared requests, to save CPU: the loader
// shares the machine with what it measures.
type conn struct {
	net.Conn
	in *bufio.Reader
}

func dial(host string) (*conn, error) {
	c, err := net.Dial("tcp", host)
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	return &conn{c, bufio.NewReaderSize(c, 16<<10)}, nil
}

// post sends r stamped with at and returns the status.
func (c *conn) post(r request, at time.Time) (int, error) {
	var res fasthttp.Response
	err := c.exchange(r, at, &res)
	return res.StatusCode(), err
}

// exchange is post that also returns the answer.
func (c *conn) exchange(r request, at time.Time, res *fasthttp.Response) error {
	if r.stamp > 0 {
		at.UTC().AppendFormat(r.raw[r.stamp:r.stamp], stampFormat)
	}
	if _, err := c.Write(r.raw); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	if err := res.Read(c.in); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	return nil
}

// Load holds what a loader measured.
type Load struct {
	Sent, Failed int64
	Elapsed      time.Duration
	Ack          *hdrhistogram.Histogram // µs from the intended time to the acknowledgement
}

// openLoop sends requests at rate per second, at exponentially spaced times that are
// fixed beforehand. A request that is sent late counts its waiting, so there is no
// coordinated omission. With rate 0 it sends as fast as conns connections allow.
func openLoop(ctx context.Context, host string, reqs []request, rate float64, conns int) (Load, error) {
	return (&loop{host: host, reqs: reqs, begin: time.Now(), due: schedule(len(reqs), rate), conns: conns}).run(ctx)
}

// loop sends requests over connections, each of which waits for its answer.
type loop struct {
	host  string
	reqs  []request
	begin time.Time
	due   []time.Duration // after begin; nil: as fast as answers come
	conns int
	// took, unless nil, is called with every answer, concurrently. It must not retain it.
	took func(i int, answer *fasthttp.Response)

	next, sent, failed atomic.Int64
	mu                 sync.Mutex
	ack                *hdrhistogram.Histogram
}

func (l *loop) run(ctx context.Context) (Load, error) {
	l.ack = newHistogram()
	g, ctx := errgroup.WithContext(ctx)
	began := time.Now()
	for range l.conns {
		c, err := dial(l.host)
		if err != nil {
			return Load{Ack: l.ack}, errors.Join(err, g.Wait())
		}
		defer c.Close()
		g.Go(func() error { return l.connection(ctx, c) })
	}
	err := g.Wait()
	return Load{Elapsed: time.Since(began), Sent: l.sent.Load(), Failed: l.failed.Load(), Ack: l.ack}, err
}

func (l *loop) connection(ctx context.Context, c *conn) error {
	h := newHistogram()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.ack.Merge(h)
	}()
	var answer fasthttp.Response
	for ctx.Err() == nil {
		i := int(l.next.Add(1) - 1)
		if i >= len(l.reqs) {
			return nil
		}
		at := time.Now()
		if l.due != nil {
			at = l.begin.Add(l.due[i])
			time.Sleep(time.Until(at))
		}
		if err := c.exchange(l.reqs[i], at, &answer); err != nil {
			return err
		}
		l.sent.Add(1)
		if status := answer.StatusCode(); status != fasthttp.StatusAccepted && status != fasthttp.StatusOK {
			l.failed.Add(1)
		}
		if l.took != nil {
			l.took(i, &answer)
		}
		_ = h.RecordValue(time.Since(at).Microseconds())
	}
	return ctx.Err()
}

// schedule returns n offsets of a Poisson process, or nil for rate 0.
func schedule(n int, rate float64) []time.Duration {
	if rate == 0 {
		return nil
	}
	rng := newRand()
	out := make([]time.Duration, n)
	at := 0.0
	for i := range out {
		at += rng.ExpFloat64() / rate
		out[i] = time.Duration(at * float64(time.Second))
	}
	return out
}

// newRand has a fixed seed, so that every run draws the same times.
func newRand() *rand.Rand { return rand.New(rand.NewPCG(1, 0)) }

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, int64(10*time.Minute/time.Microsecond), 3)
}
