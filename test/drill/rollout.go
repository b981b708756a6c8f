package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"pitboss/broker"
	"pitboss/functions"
	"pitboss/test/redistest"
)

// functionsRolled are replaced one after another. The console is not on an event's path; a
// server that accepts everything stands in for it.
var functionsRolled = slices.DeleteFunc(functions.Names(), func(name string) bool { return name == "console" })

// system is Pitboss as processes with the one-machine Broker.
type system struct {
	launcher launcher
	redis    *redistest.Server
	broker   *broker.Broker
	console  *httptest.Server
	routes   map[string]*route
	releases map[string]*release
	models   [2]string // of a release and of the next
}

// rollout replaces each function o.times times under load, as Knative Serving does: a new
// release starts, becomes ready and gets the requests, and the old one gets SIGTERM at
// once. Every other release declares one more feature and has other models, so that old
// and new ones work on the same players.
func rollout(ctx context.Context, o options) (table, error) {
	dir, err := os.MkdirTemp("", "drill-")
	if err != nil {
		return table{}, err
	}
	s, err := startSystem(ctx, o, dir)
	if s != nil {
		defer s.stop()
	}
	if err != nil {
		return table{}, fmt.Errorf("%w (logs in %s)", err, dir)
	}
	l := newLoad(s.routes["ingest"].addr, strconv.FormatInt(time.Now().Unix(), 36), o.players)
	if err := l.register(ctx); err != nil {
		return table{}, err
	}
	playing, stop := context.WithCancel(ctx)
	played := make(chan error, 1)
	var sent int
	go func() {
		var err error
		sent, err = l.play(playing, o.rate)
		played <- err
	}()
	time.Sleep(3 * time.Second) // warms caches and connections
	for _, r := range s.routes {
		r.restart()
	}
	rollouts, err := s.rollAll(ctx, o.times)
	stop()
	if perr := <-played; err == nil {
		err = perr
	}
	if err != nil {
		return table{}, fmt.Errorf("%w (logs in %s)", err, dir)
	}
	quiet, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := s.broker.Quiet(quiet); err != nil {
		return table{}, err
	}
	return s.count(ctx, l, sent, rollouts, dir)
}

func startSystem(ctx context.Context, o options, dir string) (*system, error) {
	s := &system{routes: map[string]*route{}, releases: map[string]*release{}}
	var err error
	if err := os.MkdirAll(filepath.Join(dir, "redis"), 0o755); err != nil {
		return nil, err
	}
	if s.redis, err = redistest.Run(filepath.Join(dir, "redis")); err != nil {
		return nil, err
	}
	s.models = [2]string{filepath.Join(o.root, "models"), filepath.Join(dir, "models")}
	if err := nextModels(s.models[0], s.models[1]); err != nil {
		return s, err
	}
	for _, f := range functionsRolled {
		if s.routes[f], err = newRoute(); err != nil {
			return s, err
		}
	}
	console := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	s.console = console
	s.broker, err = broker.Open(broker.Config{
		DataDir: filepath.Join(dir, "log"), BrokerFile: filepath.Join(o.root, "broker", "base", "broker.yaml"), TriggerDirs: []string{filepath.Join(o.root, "triggers")},
		Resolve: func(service string) (string, bool) {
			name := strings.TrimPrefix(service, "pitboss-")
			if name == "console" {
				return console.URL, true
			}
			if r := s.routes[name]; r != nil {
				return r.addr, true
			}
			return "", false
		}})
	if err != nil {
		return s, err
	}
	go s.broker.Serve()
	s.launcher = launcher{o: o, dir: dir, redis: s.redis.URL(), env: []string{"K_SINK=" + s.broker.URL(), "LOG_LEVEL=warn"}}
	for _, f := range functionsRolled {
		if _, err := s.replace(ctx, f, s.models[0]); err != nil {
			return s, err
		}
	}
	return s, nil
}

// replace starts a release, waits until it is ready, points the route at it, and returns
// the release before it.
func (s *system) replace(ctx context.Context, function, models string) (old *release, err error) {
	r, err := s.launcher.start(function, models)
	if err != nil {
		return nil, err
	}
	if err := r.ready(ctx); err != nil {
		_ = r.cmd.Process.Kill()
		return nil, fmt.Errorf("%s: %w", function, err)
	}
	old = s.releases[function]
	s.releases[function] = r
	return old, s.routes[function].point(ctx, r)
}

func (s *system) rollAll(ctx context.Context, times int) (rollouts int, err error) {
	for n := range times {
		for _, f := range functionsRolled {
			old, err := s.replace(ctx, f, s.models[(n+1)%2])
			if err != nil {
				return rollouts, err
			}
			if err := old.terminate(); err != nil {
				return rollouts, err
			}
			rollouts++
		}
		fmt.Fprintf(os.Stderr, "\rrollouts: %d", rollouts)
	}
	fmt.Fprintln(os.Stderr)
	return rollouts, nil
}

// count compares what was acknowledged with what the players' states hold.
func (s *system) count(ctx context.Context, l *load, sent, rollouts int, dir string) (table, error) {
	stats := s.broker.Stats()
	letters, err := s.broker.DeadLetters.List(ctx, "", 5)
	if err != nil {
		return table{}, err
	}
	for _, d := range letters {
		fmt.Fprintf(os.Stderr, "dead letter: %s: %s: %d after %d attempts: %.200s\n", d.Trigger, d.Event.Type(), d.Code, d.Attempts, d.Reason)
	}
	lost, double, late, err := l.differences(ctx, s.models[0], s.redis.URL())
	if err != nil {
		return table{}, err
	}
	var gap time.Duration
	var failed int64
	for f, r := range s.routes {
		gap = max(gap, r.longest())
		n := r.failures.Load()
		failed += n
		fmt.Fprintf(os.Stderr, "%-9s longest gap %s, %d attempts repeated\n", f, r.longest().Round(time.Millisecond), n)
	}
	var t table
	t.add("rollouts", float64(rollouts))
	t.add("events", float64(sent+l.players))
	t.add("errors", float64(stats.DeadLetters))
	t.add("lost", float64(lost))
	t.add("double", float64(double))
	t.add("longest_gap_ms", float64(gap.Microseconds())/1000)
	t.note("late", float64(late))
	t.note("retried", float64(failed)) // attempts that a rollout interrupted and the Broker or the sender repeated
	t.passed = stats.DeadLetters == 0 && lost == 0 && double == 0 && gap <= 100*time.Millisecond
	if t.passed {
		os.RemoveAll(dir)
	} else {
		fmt.Fprintln(os.Stderr, "logs in", dir)
	}
	return t, nil
}

func (s *system) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if s.broker != nil {
		_ = s.broker.Drain(ctx)
	}
	for _, r := range s.releases {
		_ = r.terminate()
	}
	for _, r := range s.routes {
		r.server.Close()
	}
	if s.console != nil {
		s.console.Close()
	}
	s.redis.Kill()
}
