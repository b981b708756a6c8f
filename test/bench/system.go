package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"pitboss/test/redistest"
)

// System is Pitboss on this machine, a process per component.
type System struct {
	Dir       string // logs and data; removed by Stop unless KeepLogs
	BrokerURL string
	RedisURL  string
	redis     *redistest.Server
	parts     []*process
	hosts     map[string]string // function → host:port
	metrics   map[string]string // function → host:port of /metrics
}

// SystemConfig says what to start.
type SystemConfig struct {
	Bin       string   // folder of the release binaries pitboss and function
	Functions []string // which functions
	// Consumer is the address (host:port) that takes scores and
	// recommendations through the Triggers in broker/local/triggers.
	// "": no Broker, the functions alone.
	Consumer string
	Env      []string // more environment for the functions, NAME=value
	// InProcess has the Broker run the functions in its own process, as on one
	// machine; otherwise each is a process that it reaches over HTTP.
	InProcess bool
	// Metrics serves each function's metrics; the main runs go without.
	Metrics bool
	// Idle is how many more Triggers there are that no event matches.
	Idle int
	// Profiles is a folder for each component's CPU profile; "": none is taken.
	Profiles string
}

// StartSystem starts Redis, the functions and the Broker, and waits until all are ready.
func StartSystem(ctx context.Context, cfg SystemConfig) (_ *System, err error) {
	s := &System{hosts: map[string]string{}, metrics: map[string]string{}}
	if s.Dir, err = os.MkdirTemp("", "pitboss-bench-"); err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.logTail())
			s.Stop()
		}
	}()
	if s.redis, err = redistest.Run(s.Dir); err != nil {
		return nil, err
	}
	s.RedisURL = s.redis.URL()
	if cfg.Consumer == "" { // functions alone
		return s, s.startFunctions(ctx, cfg)
	}
	brokerPort, err := redistest.FreePort()
	if err != nil {
		return nil, err
	}
	s.BrokerURL = fmt.Sprintf("http://127.0.0.1:%d", brokerPort)
	services := []string{"pitboss-local-consumer=http://" + cfg.Consumer}
	env := []string{"LOG_LEVEL=warn"}
	if cfg.InProcess {
		env = append(append(env, functionEnv(s.RedisURL)...), cfg.Env...)
	} else if err = s.startFunctions(ctx, cfg); err != nil {
		return nil, err
	}
	for name, host := range s.hosts {
		services = append(services, fmt.Sprintf("pitboss-%s=http://%s", name, host))
	}
	triggers, err := s.triggersFor(cfg)
	if err != nil {
		return nil, err
	}
	args := []string{filepath.Join(cfg.Bin, "pitboss"), "broker",
		"--addr", fmt.Sprintf("127.0.0.1:%d", brokerPort), "--data", filepath.Join(s.Dir, "log"),
		"--triggers", triggers, "--service", strings.Join(services, ",")}
	if cfg.Profiles != "" {
		args = append(args, "--cpuprofile", filepath.Join(cfg.Profiles, "broker.prof"))
	}
	if cfg.InProcess {
		args = append(args, "--functions", strings.Join(cfg.Functions, ","))
	}
	p, err := start(s.Dir, "broker", env, args...)
	if err != nil {
		return nil, err
	}
	s.parts = append(s.parts, p)
	return s, await(ctx, s.BrokerURL+"/healthz", 30*time.Second)
}

// startFunctions starts them all, then waits until each is ready.
func (s *System) startFunctions(ctx context.Context, cfg SystemConfig) error {
	for _, name := range cfg.Functions {
		if err := s.startFunction(cfg, name); err != nil {
			return err
		}
	}
	for _, name := range cfg.Functions {
		if err := await(ctx, "http://"+s.hosts[name]+"/health/readiness", 30*time.Second); err != nil {
			return err
		}
	}
	return nil
}

func (s *System) startFunction(cfg SystemConfig, name string) error {
	port, err := redistest.FreePort()
	if err != nil {
		return err
	}
	s.hosts[name] = fmt.Sprintf("127.0.0.1:%d", port)
	limit, err := memoryLimit(name)
	if err != nil {
		return err
	}
	env := append(functionEnv(s.RedisURL), limit, "FUNCTION_TARGET="+name, "LISTEN_ADDRESS="+s.hosts[name], "LOG_LEVEL=warn")
	env = append(env, cfg.Env...)
	if cfg.Metrics {
		port, err := redistest.FreePort()
		if err != nil {
			return err
		}
		s.metrics[name] = fmt.Sprintf("127.0.0.1:%d", port)
		env = append(env, "METRICS_ADDR="+s.metrics[name])
	}
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

// functionEnv is the environment that all functions have in common.
func functionEnv(redisURL string) []string {
	return []string{"REDIS_URL=" + redisURL, "MALLOC_ARENA_MAX=1", "ORT_DISABLE_TELEMETRY=1"}
}

// memoryLimit is the GOMEMLIMIT that a function is deployed with.
func memoryLimit(name string) (string, error) {
	raw, err := os.ReadFile(filepath.Join("functions", name, "func.yaml"))
	if err != nil {
		return "", fmt.Errorf("bench: %w", err)
	}
	_, after, _ := strings.Cut(string(raw), "name: GOMEMLIMIT")
	_, after, ok := strings.Cut(after, "value: ")
	if !ok {
		return "", fmt.Errorf("bench: functions/%s/func.yaml sets no GOMEMLIMIT", name)
	}
	value, _, _ := strings.Cut(after, "\n")
	return "GOMEMLIMIT=" + strings.TrimSpace(value), nil
}

// triggersFor copies the Triggers whose subscriber is started here.
func (s *System) triggersFor(cfg SystemConfig) (string, error) {
	dir := filepath.Join(s.Dir, "triggers")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", fmt.Errorf("bench: %w", err)
	}
	runs := map[string]bool{"pitboss-local-consumer": true}
	for _, name := range cfg.Functions {
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
	return dir, idleTriggers(dir, cfg.Idle)
}

// Usage is what each component used so far, and holds.
func (s *System) Usage() map[string]usage {
	out := map[string]usage{"redis": usageOf(s.redis.Pid())}
	for _, p := range s.parts {
		out[p.name] = usageOf(p.cmd.Process.Pid)
	}
	return out
}

// Stop ends everything, the Broker first, and removes the folder.
func (s *System) Stop() {
	for i := len(s.parts) - 1; i >= 0; i-- {
		s.parts[i].stop()
	}
	if s.redis != nil {
		s.redis.Kill()
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

// brokerStats is what the benchmark wants of GET /admin/stats.
type brokerStats struct {
	Accepted    int64 `json:"accepted"`
	Waiting     int64 `json:"waiting"`
	DeadLetters int64 `json:"dead_letters"`
}

// Waiting is how many events the Broker has not finished delivering.
func (s *System) Waiting(ctx context.Context) (int64, error) {
	stats, err := s.stats(ctx)
	return stats.Waiting, err
}

func (s *System) stats(ctx context.Context) (stats brokerStats, err error) {
	body, err := get(ctx, s.BrokerURL+"/admin/stats")
	if err != nil {
		return stats, err
	}
	if err := json.Unmarshal(body, &stats); err != nil {
		return stats, fmt.Errorf("bench: stats: %w", err)
	}
	return stats, nil
}
