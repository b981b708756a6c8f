package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"pitboss/test/redistest"
)

// warmUp is how many events a group's players have sent before a measurement begins, about
// 100 each.
const warmUp = 100_000

// bench runs the measurements. start is the event time of the first event, long enough ago
// that no measurement reaches the present.
type bench struct {
	opt       options
	dir       string
	redis     *redistest.Server
	fn        *function
	start     int64
	groups    int // in Redis so far
	runs      int
	pprofAddr string
	figures   figures
	sweeps    []sweep
	rows      []row
}

// figures is what -json writes.
type figures struct {
	EventsPerS           float64 `json:"events_per_s"`
	CPUUsPerEvent        float64 `json:"cpu_us_per_event"`
	P50Ms                float64 `json:"p50_ms"`
	P99Ms                float64 `json:"p99_ms"`
	HotEventsPerS        float64 `json:"hot_events_per_s"`
	ProxiedEventsPerS    float64 `json:"proxied_events_per_s"` // behind Knative's queue-proxy
	ProxyCPUUs           float64 `json:"proxy_cpu_us"`
	BytesPerPlayerMean   float64 `json:"bytes_per_player_mean"`
	BytesPerPlayerMedian float64 `json:"bytes_per_player_median"`
	BytesPerPlayerP99    float64 `json:"bytes_per_player_p99"`
	Limits               limits  `json:"limits"`
	Sweep                []point `json:"sweep"`
}

// point is what an event costs with a number of players.
type point struct {
	Players       int     `json:"players"`
	EventsPerS    float64 `json:"events_per_s"`
	CPUUsPerEvent float64 `json:"cpu_us_per_event"`
}

type limits struct {
	EvalshaPerS  float64 `json:"evalsha_per_s"`
	EvalshaCPU   float64 `json:"evalsha_cpu_us"` // client and Redis
	HTTPPostPerS float64 `json:"http_post_per_s"`
	HTTPPostCPU  float64 `json:"http_post_cpu_us"` // the function's
}

func newBench(o options) (*bench, error) {
	dir, err := os.MkdirTemp("", "benchstate")
	if err != nil {
		return nil, fmt.Errorf("scratch folder: %w", err)
	}
	b := &bench{opt: o, dir: dir, start: time.Now().Add(-60 * 24 * time.Hour).Unix()}
	if b.redis, err = redistest.Run(dir); err != nil {
		b.close()
		return nil, err
	}
	models, err := filepath.Abs(o.models)
	if err != nil {
		b.close()
		return nil, fmt.Errorf("models: %w", err)
	}
	env := []string{"REDIS_URL=" + b.redis.URL(), "MODELS_DIR=" + models}
	if o.profile != "" {
		port, err := redistest.FreePort()
		if err != nil {
			b.close()
			return nil, err
		}
		b.pprofAddr = fmt.Sprint("127.0.0.1:", port)
		env = append(env, "PPROF_ADDR="+b.pprofAddr)
	}
	if b.fn, err = startFunction("function", env...); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func (b *bench) close() {
	if b.fn != nil {
		b.fn.stop()
	}
	if b.redis != nil {
		b.redis.Kill()
	}
	_ = os.RemoveAll(b.dir)
}

func (b *bench) wants(what string) bool {
	return b.opt.only == "" || slices.Contains(strings.Split(b.opt.only, ","), what)
}

func (b *bench) run() error {
	steps := []struct {
		name string
		do   func() error
	}{
		{"limits", b.limits}, {"full", b.full}, {"proxy", b.proxied}, {"half", b.half}, {"hot", b.hot}, {"sweep", b.sweep}, {"bytes", b.bytes},
	}
	for _, s := range steps {
		if !b.wants(s.name) {
			continue
		}
		fmt.Fprintf(os.Stderr, "%s …\n", s.name)
		if err := s.do(); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

// load sends events to the function for the configured time.
func (b *bench) load(players int, rate float64, extra ...string) (*measured, error) {
	if err := b.populate(players); err != nil {
		return nil, err
	}
	b.runs++
	args := []string{"-addr", b.fn.addr, "-run", fmt.Sprint("r", b.runs), "-start", fmt.Sprint(b.start),
		"-skip", fmt.Sprint(warmUp), "-groups", fmt.Sprint(max(1, players/groupSize)), "-conns", fmt.Sprint(b.opt.conns),
		"-rate", fmt.Sprint(rate), "-duration", b.opt.seconds.String()}
	return measure(b.fn, b.redis, "load", append(args, extra...)...) // the last of two -addr counts
}

// full is a closed loop, as fast as events are answered.
func (b *bench) full() error {
	stop, err := b.cpuProfile()
	if err != nil {
		return err
	}
	defer stop()
	m, err := b.load(b.opt.players, 0)
	if err != nil {
		return err
	}
	b.figures.EventsPerS = m.rate()
	b.figures.CPUUsPerEvent = m.us(m.function + m.redis)
	b.row("events/s, loader, function and Redis sharing %d cores", m.rate(), "≥ 20,000", cores())
	b.row("CPU an event, function + Redis, µs", m.us(m.function+m.redis), "≤ 60")
	b.row("  function, µs", m.us(m.function), "")
	b.row("  Redis, µs", m.us(m.redis), "")
	b.row("  (load generator, µs)", m.us(m.load), "")
	b.row("  answered with player.updated, %%", 100*float64(m.Replies)/float64(m.Sent), "")
	b.row("  p99 under full load, ms", ms(m.P99), "")
	return nil
}

// half is an open loop at half the goal, or at half of what was reached if that is more.
func (b *bench) half() error {
	rate := max(10_000, b.figures.EventsPerS/2)
	m, err := b.load(b.opt.players, rate)
	if err != nil {
		return err
	}
	b.figures.P50Ms, b.figures.P99Ms = ms(m.P50), ms(m.P99)
	b.row("open loop: events/s", m.rate(), "half of full load")
	b.row("  p50, ms", ms(m.P50), "")
	b.row("  p99, ms", ms(m.P99), "≤ 10")
	b.row("  max, ms", ms(m.Max), "")
	b.row("  CPU an event, function + Redis, µs", m.us(m.function+m.redis), "")
	return nil
}

func (b *bench) hot() error {
	m, err := b.load(b.opt.players, 0, "-hot", "-conns", "128")
	if err != nil {
		return err
	}
	b.figures.HotEventsPerS = m.rate()
	b.row("one hot player, events/s", m.rate(), "≥ 15,000")
	b.row("  CPU an event, function + Redis, µs", m.us(m.function+m.redis), "")
	b.row("  p99, ms", ms(m.P99), "")
	return nil
}

// sweep measures what an event costs with one number of players.
type sweep struct {
	players int
	m       *measured
}

func (b *bench) sweep() error {
	for _, s := range strings.Split(b.opt.sweep, ",") {
		n, err := strconv.Atoi(s)
		if err != nil {
			return fmt.Errorf("-sweep %q: %w", b.opt.sweep, err)
		}
		m, err := b.load(n, 0)
		if err != nil {
			return err
		}
		b.sweeps = append(b.sweeps, sweep{n, m})
		b.figures.Sweep = append(b.figures.Sweep, point{n, m.rate(), m.us(m.function + m.redis)})
	}
	return nil
}

func (b *bench) limits() error {
	m, err := measure(nil, b.redis, "evalsha", "-addr", b.redis.Addr, "-duration", b.opt.seconds.String())
	if err != nil {
		return err
	}
	b.figures.Limits.EvalshaPerS, b.figures.Limits.EvalshaCPU = m.rate(), m.us(m.load+m.redis)
	b.row("limit: compare-and-set EVALSHA, 1 KB, unpipelined, per s", m.rate(), "")
	b.row("  CPU each, client + Redis, µs", m.us(m.load+m.redis), "")
	f, err := startFunction("acknowledge")
	if err != nil {
		return err
	}
	defer f.stop()
	m, err = measure(f, nil, "load", "-addr", f.addr, "-run", "l", "-start", fmt.Sprint(b.start), "-duration", b.opt.seconds.String(),
		"-conns", fmt.Sprint(b.opt.conns))
	if err != nil {
		return err
	}
	b.figures.Limits.HTTPPostPerS, b.figures.Limits.HTTPPostCPU = m.rate(), m.us(m.function)
	b.row("limit: CloudEvent POST, acknowledged only, per s", m.rate(), "")
	b.row("  CPU each, function only, µs", m.us(m.function), "")
	return nil
}
