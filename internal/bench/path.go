package bench

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"pitboss/internal/event"
	"pitboss/internal/simulator"
)

const (
	typeScored     = event.TypePlayerScored
	typeIssued     = event.TypeRecommendation
	typeSuppressed = event.TypeSuppressed
)

// PathConfig of the measurement of the whole path.
type PathConfig struct {
	Bin     string
	Rates   []float64     // open-loop rates, events/s
	Phase   time.Duration // length of each rate
	Burst   int           // events of the run that finds the maximum
	Players int
	Profile string // folder for the Broker's CPU profile; "": none
	Mixed   bool   // decisions as features.yaml asks for them, instead of one for every event
}

// Point is one line of the table.
type Point struct {
	Rate      float64            `json:"rate"` // offered events/s; 0: as fast as it goes
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

var pathFunctions = []string{"profile", "score", "decide"}

// Path runs the whole path at each rate, and once as fast as it goes.
func Path(ctx context.Context, cfg PathConfig, progress io.Writer) ([]Point, error) {
	c, err := newConsumer()
	if err != nil {
		return nil, err
	}
	defer c.close()
	env := []string{}
	if !cfg.Mixed {
		env = append(env, "SCORE_WHEN=always")
	}
	s, err := StartSystem(ctx, SystemConfig{Bin: cfg.Bin, Functions: pathFunctions, Consumer: c.addr(), Env: env, Profiles: cfg.Profile})
	if err != nil {
		return nil, err
	}
	defer s.Stop()
	world := simulator.New(simulator.Config{Seed: 1, Players: cfg.Players, Start: time.Now().Add(-15 * time.Minute), Pace: 1})
	p := &path{cfg: cfg, system: s, consumer: c, world: world}
	if _, err := p.measure(ctx, 0, max(cfg.Burst/4, 1000)); err != nil { // connections, caches, pages
		return nil, err
	}
	var out []Point
	for _, rate := range append([]float64{0}, cfg.Rates...) {
		n := cfg.Burst
		if rate > 0 {
			n = int(rate * cfg.Phase.Seconds())
		}
		point, err := p.measure(ctx, rate, n)
		if err != nil {
			return out, err
		}
		fmt.Fprintln(progress, point.line())
		out = append(out, point)
	}
	return out, nil
}

type path struct {
	cfg      PathConfig
	system   *System
	consumer *consumer
	world    *simulator.World
}

func (p *path) measure(ctx context.Context, rate float64, n int) (Point, error) {
	host := strings.TrimPrefix(p.system.BrokerURL, "http://")
	reqs, err := requests(p.world, n, host)
	if err != nil {
		return Point{}, err
	}
	p.consumer.reset()
	before, began := p.system.CPU(), time.Now()
	conns := 64
	if rate > 0 {
		conns = 256 // more than can be in flight: an arrival never waits for a connection
	}
	load, err := openLoop(ctx, host, reqs, rate, conns)
	if err != nil {
		return Point{}, err
	}
	last, err := p.drained(ctx)
	if err != nil {
		return Point{}, err
	}
	after := p.system.CPU()
	point := Point{Rate: rate, Events: load.Sent, Failed: load.Failed, CPUByPart: map[string]float64{}, RSSByPart: p.system.RSS()}
	point.Decided, _ = p.consumer.decided()
	point.EventsPS = float64(load.Sent) / max(last.Sub(began), load.Elapsed).Seconds()
	h := p.consumer.histogram()
	point.P50Ms, point.P99Ms, point.P999Ms = ms(h, 50), ms(h, 99), ms(h, 99.9)
	point.AckP99Ms = ms(load.Ack, 99)
	for part, cpu := range after {
		us := float64((cpu - before[part]).Microseconds()) / float64(load.Sent)
		point.CPUByPart[part] = us
		point.CPUUs += us
	}
	return point, nil
}

// drained waits until nothing is left in the Broker and returns when the last
// event reached the consumer.
func (p *path) drained(ctx context.Context) (time.Time, error) {
	for {
		waiting, err := p.system.Waiting(ctx)
		if err != nil {
			return time.Time{}, err
		}
		if _, last := p.consumer.decided(); waiting == 0 {
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
	return fmt.Sprintf("  %-7s %7.0f events/s  decided %d/%d  p50 %.1f  p99 %.1f  p99.9 %.1f ms  CPU %.0f µs/event (broker %.0f profile %.0f score %.0f decide %.0f redis %.0f)",
		rate, pt.EventsPS, pt.Decided, pt.Events, pt.P50Ms, pt.P99Ms, pt.P999Ms, pt.CPUUs,
		pt.CPUByPart["broker"], pt.CPUByPart["profile"], pt.CPUByPart["score"], pt.CPUByPart["decide"], pt.CPUByPart["redis"])
}
