// Package system runs Pitboss on this machine as it is deployed, for rigs that measure it:
// release binaries, a real redis-server, and one process each for the Broker and every
// function.
package system

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"pitboss/test/redistest"
)

// System is Pitboss on this machine, with one process for each component.
type System struct {
	Dir       string // logs and data; Stop removes it
	BrokerURL string
	RedisURL  string
	Hosts     map[string]string // function → host:port
	Metrics   map[string]string // function → host:port of /metrics
	redis     *redistest.Server
	broker    *Process   // nil: only functions
	functions []*Process // empty if they run in the Broker's process
}

// Config says what to start.
type Config struct {
	Bin       string   // folder of the release binaries pitboss and function
	Functions []string // which functions
	// Consumer is the address (host:port) that receives scores and recommendations through
	// the Triggers in broker/local/triggers. "": start no Broker, only functions.
	Consumer string
	Env      []string // additional environment of the functions, NAME=value
	Redis    []string // additional options of redis-server, which has no persistence by default
	Broker   []string // additional options of the Broker
	// InProcess runs the functions in the Broker's process, as on one machine. Otherwise
	// each is a process that the Broker reaches over HTTP.
	InProcess bool
	// Metrics makes each function serve its metrics. The main runs do without.
	Metrics bool
	// Idle is the number of additional Triggers that no event matches.
	Idle int
	// Profiles is the folder for each component's CPU profile; "": take none.
	Profiles string
}

// Run starts Redis, the functions and the Broker, and waits until all are ready.
func Run(ctx context.Context, cfg Config) (_ *System, err error) {
	s := &System{Hosts: map[string]string{}, Metrics: map[string]string{}}
	if s.Dir, err = os.MkdirTemp("", "pitboss-system-"); err != nil {
		return nil, fmt.Errorf("system: %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, s.Said())
			s.Stop()
		}
	}()
	if s.redis, err = redistest.Run(s.Dir, cfg.Redis...); err != nil {
		return nil, err
	}
	s.RedisURL = s.redis.URL()
	if cfg.Consumer == "" || !cfg.InProcess {
		if err := s.Add(cfg); err != nil {
			return nil, err
		}
	}
	if cfg.Consumer != "" {
		if err := s.startBroker(cfg); err != nil {
			return nil, err
		}
	}
	return s, s.Ready(ctx)
}

// Add starts functions, one process each. Ready waits for them.
func (s *System) Add(cfg Config) error {
	for _, name := range cfg.Functions {
		if err := s.startFunction(cfg, name); err != nil {
			return err
		}
	}
	return nil
}

// Ready waits until the functions, then the Broker, are ready.
func (s *System) Ready(ctx context.Context) error {
	for _, host := range s.Hosts {
		if err := Await(ctx, "http://"+host+"/health/readiness", 30*time.Second); err != nil {
			return err
		}
	}
	if s.broker == nil {
		return nil
	}
	return Await(ctx, s.BrokerURL+"/healthz", 30*time.Second)
}

func (s *System) startBroker(cfg Config) error {
	port, err := redistest.FreePort()
	if err != nil {
		return err
	}
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	s.BrokerURL = "http://" + addr
	services := []string{"pitboss-local-consumer=http://" + cfg.Consumer}
	for name, host := range s.Hosts {
		services = append(services, fmt.Sprintf("pitboss-%s=http://%s", name, host))
	}
	triggers, err := s.triggersFor(cfg)
	if err != nil {
		return err
	}
	args := append([]string{filepath.Join(cfg.Bin, "pitboss"), "broker", "--addr", addr, "--data", filepath.Join(s.Dir, "log"),
		"--triggers", triggers, "--service", strings.Join(services, ",")}, cfg.Broker...)
	if cfg.Profiles != "" {
		args = append(args, "--cpuprofile", filepath.Join(cfg.Profiles, "broker.prof"))
	}
	env := []string{"LOG_LEVEL=warn"}
	if cfg.InProcess {
		args = append(args, "--functions", strings.Join(cfg.Functions, ","))
		env = append(append(env, functionEnv(s.RedisURL)...), cfg.Env...)
	}
	s.broker, err = Start(s.Dir, "broker", env, args...)
	return err
}

func (s *System) startFunction(cfg Config, name string) error {
	port, err := redistest.FreePort()
	if err != nil {
		return err
	}
	s.Hosts[name] = fmt.Sprintf("127.0.0.1:%d", port)
	limit, err := memoryLimit(name)
	if err != nil {
		return err
	}
	env := append(functionEnv(s.RedisURL), limit, "FUNCTION_TARGET="+name, "LISTEN_ADDRESS="+s.Hosts[name], "LOG_LEVEL=warn")
	env = append(env, cfg.Env...)
	if cfg.Metrics {
		port, err := redistest.FreePort()
		if err != nil {
			return err
		}
		s.Metrics[name] = fmt.Sprintf("127.0.0.1:%d", port)
		env = append(env, "METRICS_ADDR="+s.Metrics[name])
	}
	if cfg.Profiles != "" {
		env = append(env, "CPUPROFILE="+filepath.Join(cfg.Profiles, name+".prof"))
	}
	p, err := Start(s.Dir, name, env, filepath.Join(cfg.Bin, "function"))
	if err != nil {
		return err
	}
	s.functions = append(s.functions, p)
	return nil
}

// functionEnv returns the environment that all functions share.
func functionEnv(redisURL string) []string {
	return []string{"REDIS_URL=" + redisURL, "MALLOC_ARENA_MAX=1", "ORT_DISABLE_TELEMETRY=1"}
}

// memoryLimit returns the GOMEMLIMIT that a function is deployed with.
func memoryLimit(name string) (string, error) {
	raw, err := os.ReadFile(filepath.Join("functions", name, "func.yaml"))
	if err != nil {
		return "", fmt.Errorf("system: %w", err)
	}
	_, after, _ := strings.Cut(string(raw), "name: GOMEMLIMIT")
	_, after, ok := strings.Cut(after, "value: ")
	if !ok {
		return "", fmt.Errorf("system: functions/%s/func.yaml sets no GOMEMLIMIT", name)
	}
	value, _, _ := strings.Cut(after, "\n")
	return "GOMEMLIMIT=" + strings.TrimSpace(value), nil
}

// Application returns the processes that run functions, which a rollout or a crash
// replaces. It is the Broker's process if that runs the functions.
func (s *System) Application() []*Process {
	if len(s.functions) == 0 {
		return []*Process{s.broker}
	}
	return s.functions
}

// processes returns all processes except Redis.
func (s *System) processes() []*Process {
	if s.broker == nil {
		return s.functions
	}
	return append(slices.Clone(s.functions), s.broker)
}

// Usage returns what each component has used and holds.
func (s *System) Usage() map[string]Usage {
	out := map[string]Usage{"redis": UsageOf(s.redis.Pid())}
	for _, p := range s.processes() {
		out[p.Name] = p.Usage()
	}
	return out
}

// Stop ends all processes, the Broker first, and removes the folder.
func (s *System) Stop() {
	all := s.processes()
	for i := len(all) - 1; i >= 0; i-- {
		all[i].Stop()
	}
	if s.redis != nil {
		s.redis.Kill()
	}
	os.RemoveAll(s.Dir)
}

// Said returns the end of each component's log, for error messages.
func (s *System) Said() string {
	if s == nil { // it never started
		return ""
	}
	var all []string
	for _, p := range s.processes() {
		if text := p.LogTail(); text != "" {
			all = append(all, p.Name+" said: "+text)
		}
	}
	return strings.Join(all, "\n")
}

// Stats is the part of the Broker's GET /admin/stats that rigs use.
type Stats struct {
	Accepted    int64 `json:"accepted"`
	Waiting     int64 `json:"waiting"` // events that are not delivered yet
	DeadLetters int64 `json:"dead_letters"`
}

// Stats reads the Broker's stats.
func (s *System) Stats(ctx context.Context) (stats Stats, err error) {
	body, err := Get(ctx, s.BrokerURL+"/admin/stats")
	if err != nil {
		return stats, err
	}
	if err := json.Unmarshal(body, &stats); err != nil {
		return stats, fmt.Errorf("system: stats: %w", err)
	}
	return stats, nil
}
