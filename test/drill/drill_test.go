package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pitboss/internal/feature"
)

// Functions accept the next release's models folder, which has another layout of state and
// other models.
func TestNextModels(t *testing.T) {
	t.Parallel()
	models, dir := filepath.Join("..", "..", "models"), t.TempDir()
	if err := nextModels(models, dir); err != nil {
		t.Fatal(err)
	}
	was, err := feature.Load(filepath.Join(models, "features.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	is, err := feature.Load(filepath.Join(dir, "features.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if was.Hash() == is.Hash() || len(is.Names()) != len(was.Names())+1 {
		t.Errorf("%d features before, %d after, hashes %s and %s", len(was.Names()), len(is.Names()), was.Hash(), is.Hash())
	}
	files, _ := filepath.Glob(filepath.Join(models, "*", "*", "model.onnx"))
	for _, file := range files {
		rel, _ := filepath.Rel(models, file)
		before, _ := os.ReadFile(file)
		after, err := os.ReadFile(filepath.Join(dir, rel))
		if err != nil || len(after) <= len(before) {
			t.Errorf("%s was not changed: %v", rel, err)
		}
	}
}

// A route that moves to the next release loses no pending requests, and the old release has
// none when point returns.
func TestRouteMovesWithoutLoss(t *testing.T) {
	t.Parallel()
	var under [2]atomic.Int64
	var releases [2]*release
	for i := range releases {
		s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			under[i].Add(1)
			defer under[i].Add(-1)
			_, _ = io.Copy(io.Discard, r.Body)
			time.Sleep(time.Millisecond)
		}))
		defer s.Close()
		releases[i] = &release{url: s.URL}
	}
	r, err := newRoute()
	if err != nil {
		t.Fatal(err)
	}
	defer r.server.Close()
	if err := r.point(context.Background(), releases[0]); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				select {
				case <-stop:
					return
				default:
				}
				resp, err := http.Get(r.addr)
				if err != nil || resp.StatusCode != http.StatusOK {
					t.Errorf("%v %v", resp, err)
					return
				}
				resp.Body.Close()
			}
		}()
	}
	for n := range 40 {
		if err := r.point(context.Background(), releases[(n+1)%2]); err != nil {
			t.Error(err)
		}
		if left := under[n%2].Load(); left != 0 {
			t.Errorf("%d requests still with the old release", left)
		}
		time.Sleep(5 * time.Millisecond)
	}
	close(stop)
	wg.Wait()
	if r.failures.Load() != 0 || r.longest() == 0 {
		t.Errorf("%d failures, longest gap %s", r.failures.Load(), r.longest())
	}
}

// A pod that is killed is restarted as another process. One that is stopped is not.
func TestPodComesBack(t *testing.T) {
	t.Parallel()
	p := &pod{name: "sleep", bin: "sleep", args: []string{"60"}, dir: t.TempDir()}
	if err := p.run(); err != nil {
		t.Fatal(err)
	}
	pid := func() int {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.cmd.Process.Pid
	}
	first := pid()
	if err := p.kill(); err != nil {
		t.Fatal(err)
	}
	if err := until(context.Background(), 5*time.Second, 5*time.Millisecond, func() error {
		if pid() == first {
			return errors.New("not started again")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	p.stop()
	if err := p.cmd.Process.Signal(syscall.Signal(0)); err == nil || p.starts != 2 {
		t.Errorf("after stop: signal %v, %d starts", err, p.starts)
	}
}
