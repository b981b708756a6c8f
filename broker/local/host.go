package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"go.uber.org/zap"
	funchttp "knative.dev/func-go/http"

	"pitboss/functions"
)

// host is one function, mounted in func-go's own server as Knative deploys it,
// but in this process and on a port of its own.
type host struct {
	name   string
	f      functions.HTTPFunction
	server *http.Server
	ln     net.Listener
	log    *zap.Logger
}

// listen reserves the function's port, so that its address is known before
// anything starts.
func listen(name, addr string, log *zap.Logger) (*host, error) {
	f, err := functions.New(name)
	if err != nil {
		return nil, err
	}
	h := &host{name: name, f: f, log: log, server: &funchttp.New(f).Server}
	if h.ln, err = net.Listen("tcp", addr); err != nil {
		return nil, fmt.Errorf("run: %s: %w", name, err)
	}
	return h, nil
}

func (h *host) url() string { return "http://" + h.ln.Addr().String() }

// start serves the function and runs its Start, as func-go does: requests may
// come before Start has ended. A failed Start is sent to fatal.
func (h *host) start(ctx context.Context, cfg map[string]string, fatal chan<- error) {
	go func() {
		if err := h.server.Serve(h.ln); !errors.Is(err, http.ErrServerClosed) {
			fatal <- fmt.Errorf("run: %s: %w", h.name, err)
		}
	}()
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

// stop drains requests in flight, then stops the function: func-go's order on SIGTERM.
func (h *host) stop(ctx context.Context) {
	if err := h.server.Shutdown(ctx); err != nil {
		h.log.Warn("requests were cut off", zap.String("function", h.name), zap.Error(err))
	}
	if err := h.f.Stop(ctx); err != nil {
		h.log.Warn("stop failed", zap.String("function", h.name), zap.Error(err))
	}
}
