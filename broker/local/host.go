package main

import (
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

// host is one function in this process. The Broker calls a function that takes
// events directly; one that speaks HTTP itself is mounted in func-go's own
// server, as Knative deploys it, on a port of its own.
type host struct {
	name   string
	f      functions.HTTPFunction
	server *http.Server // nil: it is called directly
	ln     net.Listener
	log    *zap.Logger
}

// newHost makes the function and, if it speaks HTTP, reserves its port, so that
// its address is known before anything starts.
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

// hosts are the functions of this process by name.
type hosts map[string]*host

// service is the name of a Knative Service without what all of them begin with.
func (hs hosts) service(name string) *host { return hs[strings.TrimPrefix(name, "pitboss-")] }

// function is what the Broker calls for a Service that takes events.
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

// resolve is where a Service that speaks HTTP listens.
func (hs hosts) resolve(service string) (url string, ok bool) {
	h := hs.service(service)
	if h == nil || h.ln == nil {
		return "", false
	}
	return h.url(), true
}

// ready waits until every function says it is, or ctx ends.
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

// close gives up ports that nothing was started on.
func (hs hosts) close() {
	for _, h := range hs {
		if h.ln != nil {
			h.ln.Close()
		}
	}
}

// start serves the function and runs its Start, as func-go does: events may
// come before Start has ended. A failed Start is sent to fatal.
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

// ready waits until the function says it is, or ctx ends.
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

// stop drains requests in flight, then stops the function: func-go's order on
// SIGTERM. Calls by the Broker have ended when the Broker is drained.
func (h *host) stop(ctx context.Context) {
	if h.server != nil {
		if err := h.server.Shutdown(ctx); err != nil {
			h.log.Warn("requests were cut off", zap.String("function", h.name), zap.Error(err))
			h.server.Close()
		}
	}
	if err := h.f.Stop(ctx); err != nil {
		h.log.Warn("stop failed", zap.String("function", h.name), zap.Error(err))
	}
}
