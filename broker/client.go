package broker

import (
	"bufio"
	"errors"
	"io"
	"iter"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"
	duckv1 "knative.dev/pkg/apis/duck/v1"

	"pitboss/internal/coalesce"
	"pitboss/internal/takeover"
)

// client makes the first attempts at delivering to one subscriber over plain
// HTTP, in binary mode: nearly all there are, for a third of what Knative's
// dispatcher takes. What follows a failed one is the dispatcher's.
//
// A subscriber that says it answers pipelined requests all at once, as Pitboss's
// functions do, is sent what waits for it in one write: a system call, a wake-up
// and a trip through the kernel's TCP for all of them.
type client struct {
	host    *fasthttp.HostClient
	head    string // of every request: the request line, and the host
	timeout time.Duration

	pipelines atomic.Bool // the newest connection's subscriber does
	together  *coalesce.Group[*attempt]

	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

// answer is what a subscriber said; body is the caller's.
type answer struct {
	status int
	header http.Header // of an answer that is not 2xx
	body   []byte
	reply  *message // nil: none
}

// attempt is an event on its way, and what became of it.
type attempt struct {
	m *message
	answer
	err error
}

const (
	// ioBuffer takes several events whole, so that they need one system call.
	ioBuffer = 64 << 10
	// Where the subscriber pipelines, events share a few connections. One that
	// takes long holds up those sent with it; another connection takes its place.
	pipelineConns, pipelineEvents = 4, 32
	pipelinePatience              = 100 * time.Millisecond
	// kernelTakes is what is surely written without anybody reading: less than
	// the smallest that Linux has for a connection by default (tcp_rmem).
	kernelTakes = 64 << 10
)

var errTooLarge = errors.New("the reply is too large")

func newClient(to *duckv1.Addressable, conns int, maxBody int64, timeout time.Duration) *client {
	c := &client{timeout: timeout, conns: map[net.Conn]struct{}{}, together: coalesce.New[*attempt](pipelineConns, pipelineEvents, pipelinePatience)}
	c.head = "POST " + to.URL.URL().RequestURI() + " HTTP/1.1\r\nHost: " + to.URL.Host + "\r\n"
	addr := to.URL.Host
	if to.URL.URL().Port() == "" {
		addr = net.JoinHostPort(to.URL.URL().Hostname(), "80")
	}
	c.host = &fasthttp.HostClient{
		Addr: addr, Dial: c.dial, MaxConns: conns, MaxConnWaitTimeout: timeout,
		MaxIdleConnDuration: 30 * time.Second, MaxResponseBodySize: int(maxBody),
		ReadBufferSize: ioBuffer, WriteBufferSize: ioBuffer,
	}
	return c
}

// post makes one attempt; a connection that the subscriber closed while it was
// idle, or behind the answer to another event, is none, and there is another on
// a new one.
func (c *client) post(m *message) (answer, error) {
	a := &attempt{m: m}
	if c.pipelines.Load() {
		c.together.Do(a, c.exchange)
	} else {
		c.exchange([]*attempt{a})
	}
	if errors.Is(a.err, io.EOF) || errors.Is(a.err, syscall.EPIPE) || errors.Is(a.err, syscall.ECONNRESET) {
		c.exchange([]*attempt{a})
	}
	if errors.Is(a.err, fasthttp.ErrBodyTooLarge) {
		a.err = errTooLarge
	}
	return a.answer, a.err
}

// exchange sends events over one connection and reads the answers. fasthttp's own
// request would have every header in memory three times first.
func (c *client) exchange(batch []*attempt) {
	cc, err := c.host.AcquireConn(c.timeout, false)
	if err != nil {
		for _, a := range batch {
			a.err = err
		}
		return
	}
	conn := cc.Conn()
	err = conn.SetDeadline(time.Now().Add(c.timeout))
	wrote := make(chan struct{})
	write := func() {
		defer close(wrote)
		w := c.host.AcquireWriter(conn)
		defer c.host.ReleaseWriter(w)
		for _, a := range batch {
			c.write(w, a.m)
		}
		_ = w.Flush() // an error comes to who reads, too
	}
	if size(batch) > kernelTakes { // a subscriber that answers the first before it has read the last must not wait for us
		go write()
	} else {
		write()
	}
	defer func() {
		if err != nil {
			c.host.CloseConn(cc) // which ends the writing
			<-wrote
			return
		}
		<-wrote
		c.host.ReleaseConn(cc)
	}()
	r := c.host.AcquireReader(conn)
	defer c.host.ReleaseReader(r)
	resp := fasthttp.AcquireResponse()
	defer fasthttp.ReleaseResponse(resp)
	for _, a := range batch {
		if err == nil {
			resp.Header.SetNoDefaultContentType(true)
			err = resp.ReadLimitBody(r, c.host.MaxResponseBodySize)
		}
		if a.err = err; err != nil {
			err = io.EOF // is for those behind it: they have no answer, and are not why
			continue
		}
		if t := conn.(*tracked); !t.known {
			t.known = true
			c.pipelines.Store(len(resp.Header.Peek(takeover.Pipelining)) > 0)
		}
		a.answer, a.err = c.read(resp)
		if resp.ConnectionClose() {
			err = io.EOF // what comes behind it has no answer
		}
	}
}

// size is about how many bytes the requests of several events take; one event
// alone is read before it is answered.
func size(batch []*attempt) (n int64) {
	if len(batch) > 1 {
		for _, a := range batch {
			n += a.m.size()
		}
	}
	return n
}

// write writes a request. Every name and value may be a header as it is: the
// message is plain.
func (c *client) write(w *bufio.Writer, m *message) {
	w.WriteString(c.head)
	line := func(name, value string) {
		w.WriteString(name)
		w.WriteString(": ")
		w.WriteString(value)
		w.WriteString("\r\n")
	}
	for i := 0; i < len(m.attrs); i += 2 {
		line(headerOf(m.attrs[i]), m.attrs[i+1])
	}
	for i := 0; i < len(m.headers); i += 2 {
		line(m.headers[i], m.headers[i+1])
	}
	line("Prefer", "reply")
	line("Content-Length", strconv.Itoa(len(m.data)))
	w.WriteString("\r\n")
	w.Write(m.data)
}

func (c *client) read(resp *fasthttp.Response) (a answer, err error) {
	a.status = resp.StatusCode()
	a.body = append([]byte(nil), resp.Body()...)
	header := headerPairs(resp.Header.All())
	if a.status >= 200 && a.status <= 299 {
		a.reply, err = readReply(header, a.body)
		return a, err
	}
	a.header = http.Header{}
	for i := 0; i < len(header); i += 2 {
		a.header.Add(header[i], header[i+1])
	}
	return a, nil
}

// headerPairs is name, value, … of a header; the values share one string.
func headerPairs(header iter.Seq2[[]byte, []byte]) []string {
	n, size := 0, 0
	for _, value := range header {
		n, size = n+1, size+len(value)
	}
	pairs := make([]string, 0, 2*n)
	var values strings.Builder
	values.Grow(size)
	for name, value := range header {
		pairs = append(pairs, headerName(name), "")
		values.Write(value)
	}
	all, i := values.String(), 1
	for _, value := range header {
		pairs[i], all, i = all[:len(value)], all[len(value):], i+2
	}
	return pairs
}

// dial is net.Dial; close ends what it opened.
func (c *client) dial(addr string) (net.Conn, error) {
	conn, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conns == nil {
		conn.Close()
		return nil, net.ErrClosed
	}
	c.conns[conn] = struct{}{}
	return &tracked{Conn: conn, c: c}, nil
}

// close breaks off what is under way.
func (c *client) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.conns {
		conn.Close()
	}
	c.conns = nil
}

// tracked is a connection that its client knows of.
type tracked struct {
	net.Conn
	c     *client
	known bool // whether its subscriber pipelines
}

func (t *tracked) Close() error {
	t.c.mu.Lock()
	delete(t.c.conns, t.Conn)
	t.c.mu.Unlock()
	return t.Conn.Close()
}
