package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// route is a function's stable address: what a Knative route and the ingress
// behind it are. Requests go to the newest ready release.
type route struct {
	addr   string
	server *http.Server
	to     atomic.Pointer[url.URL]

	failures atomic.Int64 // answered 5xx or not at all: what the Broker retries

	mu      sync.Mutex
	waiting int
	since   time.Time     // of the last success, or of the first of the requests that wait
	gap     time.Duration // longest time with requests waiting and none succeeding
}

func newRoute() (*route, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &route{addr: "http://" + ln.Addr().String()}
	proxy := &httputil.ReverseProxy{
		Rewrite:   func(p *httputil.ProxyRequest) { p.SetURL(r.to.Load()); p.Out.Host = p.In.Host },
		Transport: &retryDial{&http.Transport{MaxIdleConnsPerHost: 256, IdleConnTimeout: 10 * time.Second}, r},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) {
			w.WriteHeader(http.StatusBadGateway)
		},
		ModifyResponse: func(resp *http.Response) error {
			r.end(resp.StatusCode < 500)
			return nil
		},
	}
	r.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.begin()
		proxy.ServeHTTP(w, req)
	}), ReadHeaderTimeout: 10 * time.Second}
	go r.server.Serve(ln) //nolint:errcheck // ends with Close
	return r, nil
}

// retryDial does what Knative's ingress does when the release it chose closed
// its listener just then: no byte of the request has been sent, so it goes to
// the newest release instead.
type retryDial struct {
	*http.Transport
	r *route
}

func (t *retryDial) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.Transport.RoundTrip(req)
	var op *net.OpError
	for n := 0; n < 3 && errors.As(err, &op) && op.Op == "dial" && !errors.Is(err, context.Canceled); n++ {
		again := req.Clone(req.Context())
		again.URL.Host = t.r.to.Load().Host
		resp, err = t.Transport.RoundTrip(again)
	}
	if err != nil {
		t.r.end(false)
	}
	return resp, err
}

func (r *route) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiting == 0 {
		r.since = time.Now()
	}
	r.waiting++
}

func (r *route) end(success bool) {
	if !success {
		r.failures.Add(1)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting--
	if success {
		r.gap = max(r.gap, time.Since(r.since))
		r.since = time.Now()
	}
}

// longest is the longest gap so far.
func (r *route) longest() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.gap
}

// restart forgets the gaps up to now.
func (r *route) restart() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gap = 0
}

// point sends new requests to a release.
func (r *route) point(to *release) error {
	u, err := url.Parse(to.url)
	if err != nil {
		return err
	}
	r.to.Store(u)
	return nil
}
