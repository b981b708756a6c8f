package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

// System is Pitboss on this machine, a process per component.
type System struct {
	Dir       string // logs and data; removed by Stop unless KeepLogs
	BrokerURL string
	RedisURL  string
	parts     []*process
	ports     map[string]int
}

// SystemConfig says what to start.
type SystemConfig struct {
	Bin       string   // folder of the release binaries pitboss and function
	Functions []string // which functions
	// Consumer is the address (host:port) that takes scores and
	// recommendations through the Triggers in broker/local/triggers.
	Consumer string
	Env      []string // more environment for the functions, NAME=value
	// Profiles is a folder for each component's CPU profile; "": none is taken.
	Profiles string
}

// StartSystem starts Redis, the functions and the Broker, and waits until all are ready.
func StartSystem(ctx context.Context, cfg SystemConfig) (_ *System, err error) {
	s := &System{ports: map[string]int{}}
	if s.Dir, err = os.MkdirTemp("", "pitboss-bench-"); err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.logTail())
			s.Stop()
		}
	}()
	if err = s.startRedis(); err != nil {
		return nil, err
	}
	brokerPort, err := freePort()
	if err != nil {
		return nil, err
	}
	s.BrokerURL = fmt.Sprintf("http://127.0.0.1:%d", brokerPort)
	services := []string{"pitboss-local-consumer=http://" + cfg.Consumer}
	for _, name := range cfg.Functions {
		if err = s.startFunction(cfg, name); err != nil {
			return nil, err
		}
		services = append(services, fmt.Sprintf("pitboss-%s=http://127.0.0.1:%d", name, s.ports[name]))
	}
	triggers, err := s.triggersFor(cfg.Functions)
	if err != nil {
		return nil, err
	}
	args := []string{filepath.Join(cfg.Bin, "pitboss"), "broker",
		"--addr", fmt.Sprintf("127.0.0.1:%d", brokerPort), "--data", filepath.Join(s.Dir, "log"),
		"--triggers", triggers, "--service", strings.Join(services, ",")}
	if cfg.Profiles != "" {
		args = append(args, "--cpuprofile", filepath.Join(cfg.Profiles, "broker.prof"))
	}
	p, err := start(s.Dir, "broker", []string{"LOG_LEVEL=warn"}, args...)
	if err != nil {
		return nil, err
	}
	s.parts = append(s.parts, p)
	for _, name := range cfg.Functions {
		if err = await(ctx, fmt.Sprintf("http://127.0.0.1:%d/health/readiness", s.ports[name]), 30*time.Second); err != nil {
			return nil, err
		}
	}
	return s, await(ctx, s.BrokerURL+"/healthz", 30*time.Second)
}

func (s *System) startRedis() error {
	port, err := freePort()
	if err != nil {
		return err
	}
	p, err := start(s.Dir, "redis", nil, "redis-server", "--port", fmt.Sprint(port), "--bind", "127.0.0.1",
		"--save", "", "--appendonly", "no", "--dir", s.Dir)
	if err != nil {
		return err
	}
	s.parts = append(s.parts, p)
	s.RedisURL = fmt.Sprintf("redis://127.0.0.1:%d", port)
	for range 400 {
		if c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			return c.Close()
		}
		time.Sleep(5 * time.Millisecond)
	}
	return errors.New("bench: redis-server did not answer within 2 s")
}

func (s *System) startFunction(cfg SystemConfig, name string) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	s.ports[name] = port
	env := append([]string{"FUNCTION_TARGET=" + name, fmt.Sprintf("LISTEN_ADDRESS=127.0.0.1:%d", port), "LOG_LEVEL=warn",
		"REDIS_URL=" + s.RedisURL, "MALLOC_ARENA_MAX=1", "ORT_DISABLE_TELEMETRY=1"}, cfg.Env...)
	if cfg.Profiles != "" {
		env = append(env, "CPUPROFILE="+filepath.Join(cfg.Profiles, name+".prof"))
	}
	p, err := start(s.Dir, name, env, filepath.Join(cfg.Bin, "function"))
	if err != nil {
		return err
	}
	s.parts = append(s.parts, p)
	return nil
}

// triggersFor copies the Triggers whose subscriber is started here.
func (s *System) triggersFor(functions []string) (string, error) {
	dir := filepath.Join(s.Dir, "triggers")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", fmt.Errorf("bench: %w", err)
	}
	runs := map[string]bool{"pitboss-local-consumer": true}
	for _, name := range functions {
		runs["pitboss-"+name] = true
	}
	for _, from := range []string{"triggers", "broker/local/triggers"} {
		files, err := filepath.Glob(filepath.Join(from, "*.yaml"))
		if err != nil {
			return "", fmt.Errorf("bench: %w", err)
		}
		for _, file := range files {
			raw, err := os.ReadFile(file)
			if err != nil {
				return "", fmt.Errorf("bench: %w", err)
			}
			_, after, ok := strings.Cut(string(raw), "subscriber:")
			if !ok || strings.Contains(string(raw), "type: "+typeScored) && from != "triggers" {
				continue // the scores' Trigger of local mode is for GET /stats, nothing a deployment has
			}
			_, after, _ = strings.Cut(after, "name: ")
			if name, _, _ := strings.Cut(after, "\n"); !runs[strings.TrimSpace(name)] {
				continue
			}
			if err := os.WriteFile(filepath.Join(dir, filepath.Base(file)), raw, 0o644); err != nil {
				return "", fmt.Errorf("bench: %w", err)
			}
		}
	}
	return dir, nil
}

// CPU is each component's CPU time so far.
func (s *System) CPU() map[string]time.Duration {
	out := map[string]time.Duration{}
	for _, p := range s.parts {
		out[p.name] = p.cpu()
	}
	return out
}

// RSS is each component's resident memory, bytes.
func (s *System) RSS() map[string]int64 {
	out := map[string]int64{}
	for _, p := range s.parts {
		out[p.name] = p.rss()
	}
	return out
}

// Stop ends everything, the Broker first, and removes the folder.
func (s *System) Stop() {
	for i := len(s.parts) - 1; i >= 0; i-- {
		s.parts[i].stop()
	}
	os.RemoveAll(s.Dir)
}

// logTail is the end of each component's log: what to say when a start fails.
func (s *System) logTail() error {
	var all []error
	for _, p := range s.parts {
		raw, _ := os.ReadFile(filepath.Join(s.Dir, p.name+".log"))
		if len(raw) > 600 {
			raw = raw[len(raw)-600:]
		}
		if text := strings.TrimSpace(string(raw)); text != "" {
			all = append(all, fmt.Errorf("%s said: %s", p.name, text))
		}
	}
	return errors.Join(all...)
}

// Waiting is how many events the Broker has not finished delivering.
func (s *System) Waiting(ctx context.Context) (int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.BrokerURL+"/admin/stats", nil)
	if err != nil {
		return 0, fmt.Errorf("bench: %w", err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, fmt.Errorf("bench: %w", err)
	}
	defer res.Body.Close()
	var stats struct {
		Waiting int64 `json:"waiting"`
	}
	if err := json.UnmarshalRead(res.Body, &stats); err != nil {
		return 0, fmt.Errorf("bench: stats: %w", err)
	}
	return stats.Waiting, nil
}
