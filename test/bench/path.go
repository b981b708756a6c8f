package bench

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"pitboss/internal/event"
	"pitboss/internal/simulator"
	"pitboss/test/system"
)

const (
	typeScored     = event.TypePlayerScored
	typeIssued     = event.TypeRecommendation
	typeSuppressed = event.TypeSuppressed
)

// PathConfig configures the measurement of the whole path.
type PathConfig struct {
	Bin     string
	Rates   []float64     // open-loop rates, events/s
	Phase   time.Duration // length of each rate
	Burst   int           // events of the run that finds the maximum
	Players int
	Back    time.Duration // how long ago simulated play begins; 0: a quarter of an hour ago
	Profile string        // folder for the CPU profiles of Broker and functions; "": none
	// InProcess measures functions in the Broker's process, not over HTTP.
	InProcess bool
	Mixed     bool   // decisions as features.yaml asks for them, instead of one for every event
	Play      string // file of recorded play; "": the simulator's
	Idle      int    // additional Triggers that no event matches
	Metrics   bool   // serve the functions' metrics, for latency by hop
}

// Point is a line of the table.
type Point struct {
	Run       string             `json:"run"`      // every event decided, mix, or mix of recorded play
	Delivery  string             `json:"delivery"` // to the functions: HTTP or in process
	Rate      float64            `json:"rate"`     // offered events/s; 0: as fast as possible
	EventsPS  float64            `json:"events_per_s"`
	Events    int64              `json:"events"`
	Decided   int64              `json:"decided"`
	Failed    int64              `json:"failed"`
	P50Ms     float64            `json:"p50_ms"` // intended POST to the recommendation at its consumer
	P99Ms     float64            `json:"p99_ms"`
	P999Ms    float64            `json:"p999_ms"`
	AckP99Ms  float64            `json:"ack_p99_ms"`
	CPUUs     float64            `json:"cpu_us_per_event"` // everything but the loader
	CPUByPart map[string]float64 `json:"cpu_us_by_component"`
	RSSByPart map[string]int64   `json:"rss_bytes_by_component"`
}

// Runs of the whole path.
const (
	RunEvery    = "every event decided"
	RunMix      = "mix"
	RunRecorded = "mix, recorded play"
)

func (cfg PathConfig) run() string {
	switch {
	case cfg.Play != "":
		return RunRecorded
	case cfg.Mixed:
		return RunMix
	}
	return RunEvery
}

// How the Broker delivers to functions.
const (
	OverHTTP  = "HTTP"
	InProcess = "in process"
)

func (cfg PathConfig) delivery() string {
	if cfg.InProcess {
		return InProcess
	}
	return OverHTTP
}

// Memory is a component's memory in bytes.
type Memory struct {
	Rest int64 `json:"rest"` // a second after the start
	Load int64 `json:"load"` // the most under load
}

var pathFunctions = []string{"profile", "score", "decide"}

// Path runs the whole path at each rate, and once as fast as possible.
func Path(ctx context.Context, cfg PathConfig, progress io.Writer) ([]Point, map[string]Memory, error) {
	p, err := openPath(ctx, cfg)
	if err != nil {
		return nil, nil, err
	}
	defer p.close()
	time.Sleep(time.Second) // then the components are idle
	memory := map[string]Memory{}
	for part, u := range p.system.Usage() {
		memory[part] = Memory{Rest: u.RSS}
	}
	if _, err := p.measure(ctx, 0, max(cfg.Burst/4, 1000)); err != nil { // warms connections, caches and pages
		return nil, nil, err
	}
	var out []Point
	for _, rate := range append([]float64{0}, cfg.Rates...) {
		n := cfg.Burst
		if rate > 0 {
			n = int(rate * cfg.Phase.Seconds())
		}
		point, err := p.measure(ctx, rate, n)
		if err != nil {
			return out, nil, err
		}
		fmt.Fprintln(progress, point.line())
		out = append(out, point)
	}
	for part, u := range p.system.Usage() {
		memory[part] = Memory{Rest: memory[part].Rest, Load: u.Peak}
	}
	return out, memory, nil
}

type path struct {
	cfg      PathConfig
	system   *system.System
	consumer *consumer
	source   source
}

// openPath starts everything, and opens accounts if recorded play has none.
func openPath(ctx context.Context, cfg PathConfig) (_ *path, err error) {
	p := &path{cfg: cfg}
	if p.consumer, err = newConsumer(); err != nil {
		return nil, err
	}
	env := []string{}
	if !cfg.Mixed {
		env = append(env, "SCORE_WHEN=always")
	}
	if cfg.Play != "" || cfg.Back > 0 { // it spans days, and events older than a day would be refused
		env = append(env, "DECIDE_CLOCK=event")
	}
	p.system, err = system.Run(ctx, system.Config{Bin: cfg.Bin, Functions: pathFunctions, Consumer: p.consumer.addr(), Env: env,
		Profiles: cfg.Profile, Metrics: cfg.Metrics, Idle: cfg.Idle, InProcess: cfg.InProcess})
	if err != nil {
		p.consumer.close()
		return nil, err
	}
	if cfg.Play == "" {
		p.source = simulated(cfg.Players, cfg.Back)
		return p, nil
	}
	if err := p.recorded(ctx); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// simulated returns the simulator's play, from back ago until about now.
func simulated(players int, back time.Duration) *simulator.World {
	start := time.Now().Add(-cmp.Or(back, lead))
	return simulator.New(simulator.Config{Seed: 1, Players: players, Start: start, Pace: 1})
}

// lead is how far the simulated clock is behind the real one when a run begins.
const lead = 15 * time.Minute

func (p *path) close() {
	p.system.Stop()
	p.consumer.close()
}

func (p *path) host() string { return strings.TrimPrefix(p.system.BrokerURL, "http://") }

func (p *path) measure(ctx context.Context, rate float64, n int) (Point, error) {
	reqs, err := requests(p.source, n, p.host())
	if err != nil {
		return Point{}, err
	}
	p.consumer.reset()
	before, began := p.system.Usage(), time.Now()
	conns := 64
	if rate > 0 {
		conns = 256 // more than are ever pending, so that no request waits for a connection
	}
	load, err := openLoop(ctx, p.host(), reqs, rate, conns)
	if err != nil {
		return Point{}, err
	}
	last, err := p.drained(ctx)
	if err != nil {
		return Point{}, err
	}
	point := Point{Run: p.cfg.run(), Delivery: p.cfg.delivery(), Rate: rate, Events: load.Sent, Failed: load.Failed, CPUByPart: map[string]float64{}, RSSByPart: map[string]int64{}}
	point.Decided, _ = p.consumer.decided()
	point.EventsPS = float64(load.Sent) / max(last.Sub(began), load.Elapsed).Seconds()
	h := p.consumer.histogram()
	point.P50Ms, point.P99Ms, point.P999Ms = ms(h, 50), ms(h, 99), ms(h, 99.9)
	point.AckP99Ms = ms(load.Ack, 99)
	for part, u := range p.system.Usage() {
		us := float64((u.CPU - before[part].CPU).Microseconds()) / float64(load.Sent)
		point.CPUByPart[part], point.RSSByPart[part] = us, u.RSS
		point.CPUUs += us
	}
	return point, nil
}

// drained waits until the Broker has delivered everything, and returns when the last event
// reached the consumer.
func (p *path) drained(ctx context.Context) (time.Time, error) {
	for {
		stats, err := p.system.Stats(ctx)
		if err != nil {
			return time.Time{}, err
		}
		if _, last := p.consumer.decided(); stats.Waiting == 0 {
			return last, nil
		}
		select {
		case <-ctx.Done():
			return time.Time{}, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func ms(h *hdrhistogram.Histogram, quantile float64) float64 {
	return float64(h.ValueAtQuantile(quantile)) / 1000
}

func (pt Point) line() string {
	rate := "max"
	if pt.Rate > 0 {
		rate = fmt.Sprintf("%.0f/s", pt.Rate)
	}
	return fmt.Sprintf("  %-10s %-7s %7.0f events/s  decided %d/%d  p50 %.1f  p99 %.1f  p99.9 %.1f ms  CPU %.0f µs/event (broker %.0f profile %.0f score %.0f decide %.0f redis %.0f)",
		pt.Delivery, rate, pt.EventsPS, pt.Decided, pt.Events, pt.P50Ms, pt.P99Ms, pt.P999Ms, pt.CPUUs,
		pt.CPUByPart["broker"], pt.CPUByPart["profile"], pt.CPUByPart["score"], pt.CPUByPart["decide"], pt.CPUByPart["redis"])
}
