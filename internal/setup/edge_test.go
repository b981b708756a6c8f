package setup

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"

	"pitboss/internal/event"
	"pitboss/test/redistest"
)

func anEvent() *ce.Event {
	e := ce.New()
	e.SetID("e1")
	e.SetSource("/platform/test")
	e.SetType(event.TypeSessionStarted)
	e.SetSubject("p1")
	return &e
}

func status(err error) int {
	var r *cehttp.Result
	if !errors.As(err, &r) {
		return 0
	}
	return r.StatusCode
}

// The Broker tries again what comes before the start is done or meets a fault,
// and never what is against the contract.
func TestAnswerTellsTheBrokerWhatToDo(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := NewEdge("test")
	want := map[int]error{0: nil, http.StatusInternalServerError: errors.New("redis"), http.StatusBadRequest: event.Permanent(errors.New("bad"))}
	for code, fault := range want {
		handle := func(context.Context, *ce.Event) (*ce.Event, error) { return nil, fault }
		g.ready.Store(false)
		if _, err := g.Answer(ctx, anEvent(), handle); status(err) != http.StatusInternalServerError || !strings.Contains(err.Error(), "starting") {
			t.Fatalf("before the start is done: %v", err)
		}
		g.ready.Store(true)
		if _, err := g.Answer(ctx, anEvent(), handle); status(err) != code {
			t.Fatalf("%v: status %d, want %d", fault, status(err), code)
		}
	}
}

// An event that comes while the function starts is answered when it has, and
// where the start fails, the Broker is told to try again.
func TestAnEventWaitsForTheStart(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for name, fault := range map[string]error{"starts": nil, "fails": errors.New("no features.yaml")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewEdge("test")
			begun, end, answered := make(chan struct{}), make(chan struct{}), make(chan error)
			go g.Open(ctx, nil, &struct{}{}, func(context.Context) error { close(begun); <-end; return fault })
			<-begun
			gone, cancel := context.WithCancel(ctx)
			cancel()
			if _, err := g.Answer(gone, anEvent(), nil); status(err) != http.StatusInternalServerError {
				t.Fatalf("whoever asked has gone: %v", err)
			}
			handled := false
			go func() {
				_, err := g.Answer(ctx, anEvent(), func(context.Context, *ce.Event) (*ce.Event, error) { handled = true; return nil, nil })
				answered <- err
			}()
			select {
			case err := <-answered:
				t.Fatalf("answered before the start was done: %v", err)
			case <-time.After(20 * time.Millisecond):
			}
			close(end)
			err := <-answered
			if handled != (fault == nil) || (err == nil) != (fault == nil) || (fault != nil && status(err) != http.StatusInternalServerError) {
				t.Fatalf("handled %v, answer %v", handled, err)
			}
			_ = g.Stop(ctx)
		})
	}
}

// A failed start is told by Ready, and what was opened before is closed by Stop.
func TestAFailedStartIsToldAndUndone(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := NewEdge("test")
	var closed []string
	wrong := errors.New("features.yaml: no such file")
	err := g.Open(ctx, nil, &struct{}{}, func(context.Context) error {
		g.AtEnd(func() error { closed = append(closed, "first"); return nil })
		g.Go(func(ctx context.Context) { <-ctx.Done(); closed = append(closed, "work") })
		g.AtEnd(func() error { closed = append(closed, "last"); return nil })
		return wrong
	})
	if !errors.Is(err, wrong) {
		t.Fatalf("Open: %v", err)
	}
	if ok, err := g.Ready(ctx); ok || !errors.Is(err, wrong) {
		t.Fatalf("Ready: %v, %v", ok, err)
	}
	for range 2 { // func-go may stop what failed, and stop twice
		if err := g.Stop(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"last", "work", "first"}; !slices.Equal(closed, want) {
		t.Fatalf("closed %v, want %v", closed, want)
	}
}

// Redis may be absent at the start: the function starts, and Ready says what
// it waits for, until Redis is there.
func TestReadyFollowsRedis(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	srv := redistest.New(t)
	srv.Kill()
	g := NewEdge("test")
	if err := g.Open(ctx, nil, &struct{}{}, func(ctx context.Context) error {
		_, err := g.Redis(ctx, "redis://"+srv.Addr)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Stop(ctx) })
	if ok, err := g.Ready(ctx); ok || err == nil || !strings.HasPrefix(err.Error(), "test: redis: ") {
		t.Fatalf("without Redis: %v, %v", ok, err)
	}
	if err := srv.Restart(); err != nil {
		t.Fatal(err)
	}
	if ok, err := g.Ready(ctx); !ok {
		t.Fatalf("with Redis: %v", err)
	}
	wrong := NewEdge("test")
	if err := wrong.Open(ctx, nil, &struct{}{}, func(ctx context.Context) error {
		_, err := wrong.Redis(ctx, "http://"+srv.Addr)
		return err
	}); err == nil {
		t.Fatal("a URL that can never work is let by")
	}
	_ = wrong.Stop(ctx)
}
