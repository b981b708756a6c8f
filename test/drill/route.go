package main

import (
	"context"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// route is a function's stable address, like a Knative route with its ingress. Requests go
// to the newest ready release.
type route struct {
	addr   string
	server *http.Server
	to     atomic.Pointer[backend]

	failures atomic.Int64 // requests answered 5xx or not at all, which the Broker retries

	mu      sync.Mutex
	waiting int
	since   time.Time     // of the last success, or of the first pending request
	gap     time.Duration // the longest time with pending requests and no success
}

// backend is a release that a route points at, with its pending requests.
type backend struct {
	url   *url.URL
	under atomic.Int64
}

type backendKey struct{}

func newRoute() (*route, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &route{addr: "http://" + ln.Addr().String()}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(p.In.Context().Value(backendKey{}).(*backend).url)
			p.Out.Host = p.In.Host
		},
		Transport: &http.Transport{MaxIdleConnsPerHost: 256, IdleConnTimeout: 10 * time.Second},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) {
			r.end(false)
			w.WriteHeader(http.StatusBadGateway)
		},
		ModifyResponse: func(resp *http.Response) error {
			r.end(resp.StatusCode < 500)
			return nil
		},
	}
	r.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.begin()
		b := r.enter()
		defer b.under.Add(-1)
		proxy.ServeHTTP(w, req.WithContext(context.WithValue(req.Context(), backendKey{}, b)))
	}), ReadHeaderTimeout: 10 * time.Second}
	go r.server.Serve(ln)
	return r, nil
}

// enter returns the newest release and counts a request to it.
func (r *route) enter() *backend {
	for {
		b := r.to.Load()
		b.under.Add(1)
		if b == r.to.Load() {
			return b
		}
		b.under.Add(-1) // it was just replaced, and may be stopped before it gets this request
	}
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

// longest returns the longest gap so far.
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

// point sends new requests to a release and returns when the one before has no pending
// requests, since queue-proxy delays the function's SIGTERM until then.
func (r *route) point(ctx context.Context, to *release) error {
	u, err := url.Parse(to.url)
	if err != nil {
		return err
	}
	old := r.to.Swap(&backend{url: u})
	for old != nil && old.under.Load() > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}
