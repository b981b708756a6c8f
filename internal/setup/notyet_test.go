package setup

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"
)

// What waits is tried again; each try that fails is undone, a reason that
// changes is told, and a Stop ends the waiting.
func TestAStartThatWaits(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := NewEdge("test")
	var tries, open atomic.Int32
	missing := errors.New("no keys yet")
	err := g.Open(ctx, nil, &struct{}{}, func(context.Context) error {
		open.Add(1)
		g.AtEnd(func() error { open.Add(-1); return nil })
		switch tries.Add(1) {
		case 1:
			return NotYet(missing)
		case 2:
			return errors.New("half a line of keys") // somebody is just writing them
		}
		return nil
	})
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	if ok, err := g.Ready(ctx); ok || !errors.Is(err, missing) {
		t.Fatalf("Ready: %v, %v", ok, err)
	}
	for end := time.Now().Add(20 * time.Second); !g.Started(); {
		if time.Now().After(end) {
			t.Fatal("not started")
		}
		time.Sleep(time.Millisecond)
	}
	if ok, err := g.Ready(ctx); !ok || err != nil || open.Load() != 1 {
		t.Fatalf("Ready: %v, %v; %d starts are open", ok, err, open.Load())
	}
	if err := g.Stop(ctx); err != nil || open.Load() != 0 {
		t.Fatalf("Stop: %v; %d starts are open", err, open.Load())
	}

	g = NewEdge("test")
	tries.Store(0)
	if err := g.Open(ctx, nil, &struct{}{}, func(context.Context) error { tries.Add(1); return NotYet(missing) }); err != nil {
		t.Fatal(err)
	}
	if err := g.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if n := tries.Load(); n != 1 || g.Started() {
		t.Fatalf("%d tries", n)
	}
}
