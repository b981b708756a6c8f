package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"
	"knative.dev/networking/pkg/apis/networking"
	"knative.dev/networking/pkg/apis/networking/v1alpha1"
)

func listen(ctx context.Context, addr string, handler http.Handler) error {
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	s := &http.Server{Addr: addr, Handler: handler, Protocols: protocols, ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- s.ListenAndServe() }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	time.Sleep(3 * time.Second) // until no endpoint names this pod any more
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	return s.Shutdown(end)
}

func transport(http2 bool) http.RoundTripper {
	protocols := &http.Protocols{}
	protocols.SetHTTP1(!http2)
	protocols.SetUnencryptedHTTP2(http2)
	return &http.Transport{Protocols: protocols, MaxIdleConnsPerHost: 256, IdleConnTimeout: 30 * time.Second, DisableCompression: true,
		DialContext: (&net.Dialer{Timeout: 2 * time.Second}).DialContext}
}

type backendKey struct{}

// proxy sends each request to the revision that its host and path lead to.
func (g *ingress) proxy(table *atomic.Pointer[routes]) http.Handler {
	forward := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme, p.Out.URL.Host = "http", "backend"
			p.Out.Host = p.In.Host
			p.SetXForwarded()
		},
		Transport:     g,
		FlushInterval: -1, // the console's stream
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if r.Context().Err() == nil {
				log.Printf("%s %s%s: %v", r.Method, r.Host, r.URL.Path, err)
			}
			w.Header().Set("Retry-After", "1")
			http.Error(w, "ingress: "+err.Error(), http.StatusServiceUnavailable)
		},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		known := table.Load()
		if strings.HasPrefix(r.UserAgent(), "kube-probe/") {
			if known == nil {
				http.Error(w, "no routes yet", http.StatusServiceUnavailable)
			}
			return
		}
		path := (*known).match(r)
		if path == nil {
			http.NotFound(w, r)
			return
		}
		split := choose(path.Splits)
		for _, headers := range []map[string]string{path.AppendHeaders, split.AppendHeaders} {
			for name, value := range headers {
				r.Header.Set(name, value)
			}
		}
		if path.RewriteHost != "" {
			r.Host = path.RewriteHost
		}
		if err := keepBody(r); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		forward.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), backendKey{}, split.IngressBackend)))
	})
}

// keepBody reads a body of up to 2 MiB, so that it can be sent to another
// endpoint where the first one is gone.
func keepBody(r *http.Request) error {
	if r.ContentLength <= 0 || r.ContentLength > 2<<20 {
		return nil
	}
	body, err := io.ReadAll(r.Body)
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	r.Body = io.NopCloser(bytes.NewReader(body))
	return err
}

// match returns the host's longest path whose headers fit the request.
func (t routes) match(r *http.Request) (best *v1alpha1.HTTPIngressPath) {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	paths := t[strings.ToLower(host)]
	for i := range paths {
		p := &paths[i]
		fits := strings.HasPrefix(r.URL.Path, p.Path)
		for name, want := range p.Headers {
			fits = fits && r.Header.Get(name) == want.Exact
		}
		if fits && (best == nil || len(p.Path)+len(p.Headers) > len(best.Path)+len(best.Headers)) {
			best = p
		}
	}
	return best
}

func choose(splits []v1alpha1.IngressBackendSplit) v1alpha1.IngressBackendSplit {
	n := rand.IntN(100)
	for _, s := range splits {
		if n -= s.Percent; n < 0 {
			return s
		}
	}
	return splits[0]
}

// RoundTrip sends a request to an endpoint of its backend, and to another while
// none could be reached at all: endpoints change in a rollout.
func (g *ingress) RoundTrip(r *http.Request) (*http.Response, error) {
	backend, _ := r.Context().Value(backendKey{}).(v1alpha1.IngressBackend)
	for end := time.Now().Add(time.Second); ; {
		to, http2, err := g.endpoint(backend)
		if err == nil {
			out := r.Clone(r.Context())
			out.URL.Host = to.String()
			if r.GetBody != nil {
				out.Body, _ = r.GetBody() // never fails: see keepBody
			}
			t := g.http1
			if http2 {
				t = g.http2
			}
			var resp *http.Response
			if resp, err = t.RoundTrip(out); err == nil {
				return resp, nil
			}
			var op *net.OpError
			if !errors.As(err, &op) || op.Op != "dial" || r.Body != nil && r.GetBody == nil {
				return nil, err
			}
		}
		if time.Now().After(end) || r.Context().Err() != nil {
			return nil, err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// endpoint picks one of a backend's ready addresses.
func (g *ingress) endpoint(b v1alpha1.IngressBackend) (to netip.AddrPort, http2 bool, err error) {
	svc, err := g.services.Services(b.ServiceNamespace).Get(b.ServiceName)
	if err != nil {
		return to, false, err
	}
	for _, p := range svc.Spec.Ports {
		if b.ServicePort != intstr.FromInt32(p.Port) && b.ServicePort != intstr.FromString(p.Name) {
			continue
		}
		if ready := g.services.endpoints(svc, p.Name); len(ready) > 0 {
			return ready[rand.IntN(len(ready))], strings.HasPrefix(p.Name, networking.ServicePortNameH2C), nil
		}
	}
	return to, false, fmt.Errorf("%s/%s has no endpoint at port %s", b.ServiceNamespace, b.ServiceName, b.ServicePort.String())
}
