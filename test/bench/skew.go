package bench

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"

	ce "github.com/cloudevents/sdk-go/v2/event"
)

// Skew holds the figures of one path with players drawn in one way.
type Skew struct {
	Path     string    `json:"path"`    // whole path, or one function alone
	Players  string    `json:"players"` // uniform, zipf(1.1) or hot
	EventsPS []float64 `json:"events_per_s"`
	CPUUs    []float64 `json:"cpu_us_per_event"`
	P99Ms    []float64 `json:"p99_ms"` // whole path: open loop; alone: of the closed loop's 64 connections
	Failed   int64     `json:"failed"`
}

// How players are drawn.
const (
	drawUniform = "uniform"
	drawZipf    = "zipf(1.1)"
	drawHot     = "one hot player"
)

var draws = []string{drawUniform, drawZipf, drawHot}

// skewRepeats is how often each row is measured. The rows alternate, so that a change of
// the machine's speed affects all of them.
const skewRepeats = 3

// repeatShare is the share of events that are sent again with the same id.
const repeatShare = 0.05

// drawn assigns simulated play to players drawn in one way.
type drawn struct {
	from   source
	rng    *rand.Rand
	player func() int
	late   []*ce.Event // the latest events, to repeat some
}

func drawnPlay(from source, draw string, players int) *drawn {
	d := &drawn{from: from, rng: newRand()}
	switch draw {
	case drawZipf:
		z := rand.NewZipf(d.rng, 1.1, 1, uint64(players-1))
		d.player = func() int { return int(z.Uint64()) }
	case drawHot:
		d.player = func() int { return 0 }
	default:
		d.player = func() int { return d.rng.IntN(players) }
	}
	return d
}

// Next implements source.
func (d *drawn) Next() *ce.Event {
	if len(d.late) > 0 && d.rng.Float64() < repeatShare {
		e := d.late[d.rng.IntN(len(d.late))].Clone()
		return &e
	}
	e := d.from.Next()
	e.SetSubject(fmt.Sprintf("drawn-%d", d.player()))
	again := e.Clone()
	if d.late = append(d.late, &again); len(d.late) > 256 {
		d.late = d.late[1:]
	}
	return e
}

// Skewed measures the whole path, profile alone (the state path) and decide alone, with
// players drawn uniformly, by Zipf's law, and with one player only. Every event leads to
// a decision.
func Skewed(ctx context.Context, cfg PathConfig, rate float64, events int, progress io.Writer) ([]Skew, error) {
	// Eighteen runs of the whole path, so each is shorter than a single measurement.
	cfg.Burst, cfg.Phase, events = max(cfg.Burst/8, 1000), cfg.Phase/3, max(events*2/5, 1000)
	var rows []Skew
	row := func(path, draw string) *Skew {
		i := slices.IndexFunc(rows, func(s Skew) bool { return s.Path == path && s.Players == draw })
		if i < 0 {
			rows, i = append(rows, Skew{Path: path, Players: draw}), len(rows)
		}
		return &rows[i]
	}
	for range skewRepeats {
		for _, draw := range draws {
			for _, inProcess := range []bool{false, true} {
				cfg.InProcess = inProcess
				if err := skewedPath(ctx, cfg, draw, rate, row("whole path, "+cfg.delivery(), draw)); err != nil {
					return rows, err
				}
			}
			parts, err := skewedParts(ctx, cfg, draw, events)
			if err != nil {
				return rows, err
			}
			for _, p := range parts {
				s := row(p.Name+" alone", draw)
				s.EventsPS, s.CPUUs, s.P99Ms = append(s.EventsPS, p.EventsPS), append(s.CPUUs, p.CPUUs+p.RedisUs), append(s.P99Ms, p.P99Ms)
			}
		}
	}
	slices.SortStableFunc(rows, func(a, b Skew) int { return strings.Compare(b.Path, a.Path) })
	for _, s := range rows {
		fmt.Fprintf(progress, "  %-22s %-14s %7.0f events/s (%.2f of uniform)  CPU %.0f µs/event\n", s.Path, s.Players,
			median(s.EventsPS), ofUniform(rows, s), median(s.CPUUs))
	}
	return rows, nil
}

// skewedPath runs the whole path at full speed, then at rate.
func skewedPath(ctx context.Context, cfg PathConfig, draw string, rate float64, s *Skew) error {
	cfg.Profile, cfg.Play, cfg.Mixed = "", "", false
	p, err := openPath(ctx, cfg)
	if err != nil {
		return err
	}
	defer p.close()
	p.source = drawnPlay(p.source, draw, cfg.Players)
	if _, err := p.measure(ctx, 0, max(cfg.Burst/4, 1000)); err != nil { // warms connections, caches and pages
		return err
	}
	most, err := p.measure(ctx, 0, cfg.Burst)
	if err != nil {
		return err
	}
	open, err := p.measure(ctx, rate, int(rate*cfg.Phase.Seconds()))
	if err != nil {
		return err
	}
	s.EventsPS, s.CPUUs, s.P99Ms = append(s.EventsPS, most.EventsPS), append(s.CPUUs, most.CPUUs), append(s.P99Ms, open.P99Ms)
	s.Failed += most.Failed + open.Failed
	return nil
}

// skewedParts runs each function alone.
func skewedParts(ctx context.Context, cfg PathConfig, draw string, events int) ([]Part, error) {
	parts, err := partsOf(ctx, cfg.Bin, events, func() source { return drawnPlay(simulated(cfg.Players, 0), draw, cfg.Players) }, io.Discard)
	return slices.DeleteFunc(parts, func(p Part) bool { return p.Name == "score" }), err
}

func median(of []float64) float64 {
	if len(of) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(of))
	return sorted[len(sorted)/2]
}

// ofUniform is a row's median rate as a share of that of uniformly drawn players.
func ofUniform(rows []Skew, s Skew) float64 {
	for _, u := range rows {
		if u.Path == s.Path && u.Players == drawUniform {
			return median(s.EventsPS) / median(u.EventsPS)
		}
	}
	return 0
}

func (r *Report) printSkew(t io.Writer) {
	if len(r.Skew) == 0 {
		return
	}
	fmt.Fprint(t, "\nplayers\tpath\tevents/s, median (least to most)\tof uniform\tCPU µs\tp99 ms\tof bare EVALSHA\tof bare POST\t\n")
	for _, s := range r.Skew {
		of := func(limit float64) string {
			if limit == 0 {
				return "not measured"
			}
			return fmt.Sprintf("%.3f", median(s.EventsPS)/limit)
		}
		evalsha, post := 0.0, 0.0
		if r.State != nil {
			evalsha, post = r.State.Limits.Evalsha, r.State.Limits.HTTPPost
		}
		fmt.Fprintf(t, "%s\t%s\t%.0f (%.0f to %.0f)\t%.2f\t%.0f\t%.1f\t%s\t%s\t\n", s.Players, s.Path, median(s.EventsPS), slices.Min(s.EventsPS),
			slices.Max(s.EventsPS), ofUniform(r.Skew, s), median(s.CPUUs), median(s.P99Ms), of(evalsha), of(post))
	}
}
