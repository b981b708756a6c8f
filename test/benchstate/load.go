package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http/httputil"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// loadConfig configures the load process.
type loadConfig struct {
	addr     string
	run      string
	groups   int
	skip, n  int // of the simulated stream
	start    int64
	rate     float64
	conns    int
	duration time.Duration
	hot      bool
}

// loadResult is what it measured, as JSON on its standard output.
type loadResult struct {
	Sent    int64         `json:"sent"`
	Errors  int64         `json:"errors"`
	Replies int64         `json:"replies"` // answers that carried an event
	Took    time.Duration `json:"took"`
	P50     time.Duration `json:"p50"`
	P99     time.Duration `json:"p99"`
	Max     time.Duration `json:"max"`
	Example string        `json:"example"` // of an error
}

func loadMain(args []string) error {
	var c loadConfig
	f := flag.NewFlagSet("load", flag.ExitOnError)
	f.StringVar(&c.addr, "addr", "", "host:port")
	f.StringVar(&c.run, "run", "", "prefix of event ids")
	f.IntVar(&c.groups, "groups", 1, "groups of 1000 players")
	f.IntVar(&c.skip, "skip", 0, "leave out so many events of the stream")
	f.IntVar(&c.n, "n", 0, "send so many events, in order (0: for the duration, in groups drawn at random)")
	f.Int64Var(&c.start, "start", 0, "event time of the stream's first event, Unix seconds")
	f.Float64Var(&c.rate, "rate", 0, "events/s (0: as fast as they are answered)")
	f.IntVar(&c.conns, "conns", 64, "connections")
	f.DurationVar(&c.duration, "duration", 10*time.Second, "how long")
	f.BoolVar(&c.hot, "hot", false, "all events are one player's, now")
	if err := f.Parse(args); err != nil {
		return err
	}
	length := c.skip + c.n
	if c.n == 0 {
		length = c.skip + int(c.duration.Seconds()*60_000)
	}
	l := &loader{cfg: c, stream: simulate(time.Unix(c.start, 0).UTC(), length)[c.skip:]}
	// The parent says when to start, since the CPU used until then is not the load's.
	fmt.Println("ready")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return fmt.Errorf("wait for the start: %w", err)
	}
	res, err := l.run()
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(res)
}

type loader struct {
	cfg    loadConfig
	stream []template
	next   atomic.Int64
	begin  time.Time

	mu     sync.Mutex
	total  loadResult
	histos *hdrhistogram.Histogram
}

func (l *loader) run() (*loadResult, error) {
	l.histos = hdrhistogram.New(1, time.Minute.Microseconds(), 3)
	l.begin = time.Now()
	var wg sync.WaitGroup
	errs := make([]error, l.cfg.conns)
	for i := range l.cfg.conns {
		wg.Add(1)
		go func() {
			defer wg.Done()
			errs[i] = l.connection(i)
		}()
	}
	wg.Wait()
	l.total.Took = time.Since(l.begin)
	us := func(q float64) time.Duration {
		return time.Duration(l.histos.ValueAtQuantile(q)) * time.Microsecond
	}
	l.total.P50, l.total.P99, l.total.Max = us(50), us(99), us(100)
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return &l.total, nil
}

// connection sends one event after another. With a rate it is open-loop: each event has its
// time, and its latency counts from then, so a stall delays every event that should have
// been sent during it.
func (l *loader) connection(n int) error {
	conn, err := net.Dial("tcp", l.cfg.addr)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close()
	in := bufio.NewReaderSize(conn, 16<<10)
	req := &request{host: l.cfg.addr, run: l.cfg.run}
	h := hdrhistogram.New(1, time.Minute.Microseconds(), 3)
	var mine loadResult
	step := time.Duration(0)
	due := l.begin
	if l.cfg.rate > 0 {
		step = time.Duration(float64(l.cfg.conns) / l.cfg.rate * 1e9)
		due = due.Add(step * time.Duration(n) / time.Duration(l.cfg.conns))
	}
	for {
		if step > 0 {
			time.Sleep(time.Until(due))
		} else {
			due = time.Now()
		}
		seq := int(l.next.Add(1) - 1)
		if l.cfg.n > 0 && seq >= l.cfg.n || l.cfg.n == 0 && due.Sub(l.begin) >= l.cfg.duration || seq >= len(l.stream) {
			break
		}
		if _, err := conn.Write(l.event(req, seq)); err != nil {
			return fmt.Errorf("send: %w", err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		status, body, err := readAnswer(in)
		if err != nil {
			return fmt.Errorf("answer to %q: %w", req.buf, err)
		}
		_ = h.RecordValue(max(1, time.Since(due).Microseconds()))
		mine.count(status, body)
		due = due.Add(step)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.histos.Merge(h)
	l.total.Sent += mine.Sent
	l.total.Errors += mine.Errors
	l.total.Replies += mine.Replies
	if mine.Example != "" {
		l.total.Example = mine.Example
	}
	return nil
}

func (r *loadResult) count(status int, body []byte) {
	r.Sent++
	switch {
	case status >= 300:
		r.Errors++
		r.Example = fmt.Sprintf("%d %s", status, body)
	case len(body) > 0:
		r.Replies++
	}
}

func (l *loader) event(req *request, seq int) []byte {
	t := &l.stream[seq]
	switch {
	case l.cfg.hot:
		return req.render(t, "player-hot", time.Now().UTC(), seq)
	case l.cfg.n > 0:
		return req.render(t, playerName(0, t.player), t.at, seq)
	}
	return req.render(t, playerName(rand.N(l.cfg.groups), t.player), t.at, seq)
}

// readAnswer reads an HTTP response.
func readAnswer(in *bufio.Reader) (status int, body []byte, err error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return 0, nil, err
	}
	if len(line) < 12 {
		return 0, nil, fmt.Errorf("status line %q", line)
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, nil, fmt.Errorf("status line %q", line)
	}
	length, chunked := 0, false
	for {
		if line, err = in.ReadSlice('\n'); err != nil {
			return 0, nil, err
		}
		if len(line) <= 2 {
			break
		}
		if v, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(v))); err != nil {
				return 0, nil, fmt.Errorf("length %q", v)
			}
		}
		chunked = chunked || bytes.HasPrefix(line, []byte("Transfer-Encoding: chunked"))
	}
	if chunked {
		if body, err = io.ReadAll(httputil.NewChunkedReader(in)); err == nil {
			_, err = in.ReadSlice('\n') // the end of the empty trailers
		}
		return status, body, err
	}
	if length == 0 {
		return status, nil, nil
	}
	body = make([]byte, length)
	_, err = io.ReadFull(in, body)
	return status, body, err
}
