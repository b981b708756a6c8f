package broker

import (
	"errors"
	"io"
	"net"
	"net/http"
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
	uri     string
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
	c := &client{uri: to.URL.String(), timeout: timeout, conns: map[net.Conn]struct{}{}}
	addr := to.URL.Host
	if to.URL.URL().Port() == "" {
		addr = net.JoinHostPort(to.URL.URL().Hostname(), "80")
	}
	c.host = &fasthttp.HostClient{
		Addr: addr, Dial: c.dial, MaxConns: conns, MaxConnWaitTimeout: timeout,
		MaxIdleConnDuration: 30 * time.Second, MaxResponseBodySize: int(maxBody),
		NoDefaultUserAgentHeader: true, DisablePathNormalizing: true,
		ReadBufferSize: ioBuffer, WriteBufferSize: ioBuffer,
		// A connection that the subscriber closed while it was idle: once more, on a new one.
		MaxIdemponentCallAttempts: 2,
		RetryIfErr: func(_ *fasthttp.Request, _ int, err error) (bool, bool) {
			return false, errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
		},
	}
	return c
}

// post makes one attempt.
func (c *client) post(m *message) (a answer, err error) {
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	req.Header.DisableNormalizing()
	req.Header.SetNoDefaultContentType(true)
	req.Header.SetMethod(fasthttp.MethodPost)
	req.SetRequestURI(c.uri)
	for i := 0; i < len(m.attrs); i += 2 {
		req.Header.Add(headerOf(m.attrs[i]), m.attrs[i+1])
	}
	for i := 0; i < len(m.headers); i += 2 {
		req.Header.Add(m.headers[i], m.headers[i+1])
	}
	req.Header.Add("Prefer", "reply")
	req.SetBodyRaw(m.data)
	resp.Header.SetNoDefaultContentType(true)
	if err := c.host.DoTimeout(req, resp, c.timeout); err != nil {
		if errors.Is(err, fasthttp.ErrBodyTooLarge) {
			err = errTooLarge
		}
		return a, err
	}
	return c.read(resp)
}

func (c *client) read(resp *fasthttp.Response) (a answer, err error) {
	a.status = resp.StatusCode()
	a.body = append([]byte(nil), resp.Body()...)
	if a.status < 200 || a.status > 299 {
		a.header = http.Header{}
		for name, value := range resp.Header.All() {
			a.header.Add(string(name), string(value))
		}
		return a, nil
	}
	a.reply, err = readReply(func(name string) string { return string(resp.Header.Peek(name)) }, func(f func(name, value string)) {
		for name, value := range resp.Header.All() {
			f(string(name), string(value))
		}
	}, a.body)
	return a, err
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
