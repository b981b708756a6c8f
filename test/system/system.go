// Package system runs Pitboss on this machine as it is deployed, for the rigs
// that measure it: release binaries, a real redis-server, the Broker and every
// function as a process of its own.
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

// System is Pitboss on this machine, a process per component.
type System struct {
	Dir       string // logs and data; removed by Stop
	BrokerURL string
	RedisURL  string
	Hosts     map[string]string // function → host:port
	Metrics   map[string]string // function → host:port of /metrics
	redis     *redistest.Server
	broker    *Process   // nil: the functions alone
	functions []*Process // none where they run in the Broker's process
}

// Config says what to start.
type Config struct {
	Bin       string   // folder of the release binaries pitboss and function
	Functions []string // which functions
	// Consumer is the address (host:port) that takes scores and
	// recommendations through the Triggers in broker/local/triggers.
	// "": no Broker, the functions alone.
	Consumer string
	Env      []string // more environment for the functions, NAME=value
	Redis    []string // more options of redis-server, which keeps nothing on disk otherwise
	Broker   []string // more options of the Broker
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

// Add starts functions, a process each; Ready waits for them.
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

// functionEnv is the environment that all functions have in common.
func functionEnv(redisURL string) []string {
	return []string{"REDIS_URL=" + redisURL, "MALLOC_ARENA_MAX=1", "ORT_DISABLE_TELEMETRY=1"}
}

// memoryLimit is the GOMEMLIMIT that a function is deployed with.
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

// Application is the processes that run functions, what a rollout or a crash
// replaces: their own, or the Broker's with the functions in it.
func (s *System) Application() []*Process {
	if len(s.functions) == 0 {
		return []*Process{s.broker}
	}
	return s.functions
}

// processes are all but Redis.
func (s *System) processes() []*Process {
	if s.broker == nil {
		return s.functions
	}
	return append(slices.Clone(s.functions), s.broker)
}

// Usage is what each component used so far, and holds.
func (s *System) Usage() map[string]Usage {
	out := map[string]Usage{"redis": UsageOf(s.redis.Pid())}
	for _, p := range s.processes() {
		out[p.Name] = p.Usage()
	}
	return out
}

// Stop ends everything, the Broker first, and removes the folder.
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

// Said is the end of each component's log: what to say when something fails.
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

// Stats is what a rig wants of the Broker's GET /admin/stats.
type Stats struct {
	Accepted    int64 `json:"accepted"`
	Waiting     int64 `json:"waiting"` // events whose delivery has not ended
	DeadLetters int64 `json:"dead_letters"`
}

// Stats asks the Broker.
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
