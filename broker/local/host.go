package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"go.uber.org/zap"
	funchttp "knative.dev/func-go/http"

	"pitboss/broker"
	"pitboss/functions"
)

// host is one function in this process. If the function takes events, the Broker
// calls it directly. If it speaks HTTP itself, func-go's server mounts it on its
// own port, as in a Knative deployment.
type host struct {
	name   string
	f      functions.HTTPFunction
	server *http.Server // nil if the Broker calls f directly
	ln     net.Listener
	log    *zap.Logger
}

// newHost makes the function. If it speaks HTTP, newHost also opens its port, so
// that its address is known before anything starts.
func newHost(name, addr string, log *zap.Logger) (*host, error) {
	f, err := functions.New(name)
	if err != nil {
		return nil, err
	}
	h := &host{name: name, f: f, log: log}
	if _, direct := f.(functions.Answerer); direct {
		return h, nil
	}
	h.server = &funchttp.New(f).Server
	if h.ln, err = net.Listen("tcp", addr); err != nil {
		return nil, fmt.Errorf("run: %s: %w", name, err)
	}
	return h, nil
}

func (h *host) url() string { return "http://" + h.ln.Addr().String() }

// hosts holds the functions of this process by name.
type hosts map[string]*host

// newHosts makes the named functions. A function that speaks HTTP listens on its
// address in addrs, or else on a free port.
func newHosts(names []string, addrs map[string]string, log *zap.Logger) (hosts, error) {
	all := hosts{}
	for _, name := range names {
		h, err := newHost(name, cmp.Or(addrs[name], "127.0.0.1:0"), log)
		if err != nil {
			all.close()
			return nil, err
		}
		all[name] = h
	}
	return all, nil
}

// service returns the host of a Knative Service; all their names begin with
// "pitboss-".
func (hs hosts) service(name string) *host { return hs[strings.TrimPrefix(name, "pitboss-")] }

// function returns the call for a Service that takes events.
func (hs hosts) function(service string) (broker.Function, bool) {
	h := hs.service(service)
	if h == nil {
		return nil, false
	}
	a, ok := h.f.(functions.Answerer)
	if !ok {
		return nil, false
	}
	return func(ctx context.Context, e *ce.Event) (*ce.Event, int, string) { return a.Answer(ctx, e) }, true
}

// resolve returns the URL of a Service that speaks HTTP.
func (hs hosts) resolve(service string) (url string, ok bool) {
	h := hs.service(service)
	if h == nil || h.ln == nil {
		return "", false
	}
	return h.url(), true
}

// ready waits until every function is ready, or ctx ends.
func (hs hosts) ready(ctx context.Context) error {
	for _, h := range hs {
		if err := h.ready(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (hs hosts) stop(ctx context.Context) {
	for _, h := range hs {
		h.stop(ctx)
	}
}

// close closes the ports if the functions are not started.
func (hs hosts) close() {
	for _, h := range hs {
		if h.ln != nil {
			h.ln.Close()
		}
	}
}

// start serves the function and runs its Start, as func-go does: events can
// arrive before Start returns. It sends an error of Start or of the server to fatal.
func (h *host) start(ctx context.Context, cfg map[string]string, fatal chan<- error) {
	if h.server != nil {
		go func() {
			if err := h.server.Serve(h.ln); !errors.Is(err, http.ErrServerClosed) {
				fatal <- fmt.Errorf("run: %s: %w", h.name, err)
			}
		}()
	}
	go func() {
		if err := h.f.Start(ctx, cfg); err != nil {
			fatal <- fmt.Errorf("run: %s: %w", h.name, err)
		}
	}()
}

// ready waits until the function is ready, or ctx ends.
func (h *host) ready(ctx context.Context) error {
	for {
		yes, err := h.f.Ready(ctx)
		if yes && err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("run: %s is not ready: %w", h.name, errors.Join(err, ctx.Err()))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// stop drains the requests in flight, then stops the function. func-go keeps the
// same order on SIGTERM. The Broker must be drained before, which ends its calls.
func (h *host) stop(ctx context.Context) {
	if h.server != nil {
		if err := h.server.Shutdown(ctx); err != nil {
			h.log.Warn("function stopped with requests in flight", zap.String("function", h.name), zap.Error(err))
			h.server.Close()
		}
	}
	if err := h.f.Stop(ctx); err != nil {
		h.log.Warn("function did not stop cleanly", zap.String("function", h.name), zap.Error(err))
	}
}
