package broker

import (
	"bufio"
	"errors"
	"io"
	"iter"
	"net"
	"net/http"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"
	duckv1 "knative.dev/pkg/apis/duck/v1"
)

// client makes the first attempts at delivering to one subscriber over plain
// HTTP, in binary mode: nearly all there are, for a third of what Knative's
// dispatcher takes. What follows a failed one is the dispatcher's.
type client struct {
	host    *fasthttp.HostClient
	head    string // of every request: the request line, and the host
	timeout time.Duration

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

// ioBuffer takes nearly every event whole, so that it needs one system call.
const ioBuffer = 16 << 10

var errTooLarge = errors.New("the reply is too large")

func newClient(to *duckv1.Addressable, conns int, maxBody int64, timeout time.Duration) *client {
	c := &client{timeout: timeout, conns: map[net.Conn]struct{}{}}
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
// idle is none, and there is another on a new one.
func (c *client) post(m *message) (a answer, err error) {
	resp := fasthttp.AcquireResponse()
	defer fasthttp.ReleaseResponse(resp)
	for tries := 0; ; tries++ {
		if err = c.exchange(m, resp); err == nil {
			return c.read(resp)
		}
		stale := errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
		if !stale || tries > 0 {
			break
		}
	}
	if errors.Is(err, fasthttp.ErrBodyTooLarge) {
		err = errTooLarge
	}
	return a, err
}

// exchange sends the event and reads the answer. fasthttp's own request would
// have every header in memory three times first.
func (c *client) exchange(m *message, resp *fasthttp.Response) error {
	cc, err := c.host.AcquireConn(c.timeout, false)
	if err != nil {
		return err
	}
	conn := cc.Conn()
	if err = conn.SetDeadline(time.Now().Add(c.timeout)); err == nil {
		w := c.host.AcquireWriter(conn)
		err = c.write(w, m)
		c.host.ReleaseWriter(w)
	}
	if err == nil {
		r := c.host.AcquireReader(conn)
		resp.Header.SetNoDefaultContentType(true)
		err = resp.ReadLimitBody(r, c.host.MaxResponseBodySize)
		c.host.ReleaseReader(r)
	}
	if err != nil || resp.ConnectionClose() {
		c.host.CloseConn(cc)
	} else {
		c.host.ReleaseConn(cc)
	}
	return err
}

// write writes a request. Every name and value may be a header as it is: the
// message is plain.
func (c *client) write(w *bufio.Writer, m *message) error {
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
	return w.Flush() // it keeps the first error
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
	pairs, values := make([]string, 0, 2*n), make([]byte, 0, size)
	for name, value := range header {
		pairs = append(pairs, headerName(name), "")
		values = append(values, value...)
	}
	all, i := string(values), 1
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
	return &tracked{conn, c}, nil
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
	c *client
}

func (t *tracked) Close() error {
	t.c.mu.Lock()
	delete(t.c.conns, t.Conn)
	t.c.mu.Unlock()
	return t.Conn.Close()
}
