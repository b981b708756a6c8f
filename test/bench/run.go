package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"pitboss/functions"
	"pitboss/internal/dataset"
)

// Sections lists what `pitboss-bench` can measure, in the order of a run.
var Sections = []string{"path", "inprocess", "mixed", "recorded", "hops", "parts", "skew", "state", "limits", "growth", "memory", "coldstart"}

// Config configures a benchmark.
type Config struct {
	PathConfig
	Only     []string  // some of Sections; empty: all
	MixRates []float64 // open-loop rates of the mix, events/s; sizing takes the highest
	Models   string    // folder of features.yaml, rules and models
	HopRate  float64   // events/s of the measurement by hop
	Events   int       // events for each function alone and each size of growth
	Proxy    string    // Knative's queue-proxy, a binary; "": do not measure the state path behind it
}

func (c Config) wants(section string) bool {
	return len(c.Only) == 0 || slices.Contains(c.Only, section)
}

// Check refuses a configuration that cannot be measured.
func (c Config) Check() error {
	for _, s := range c.Only {
		if !slices.Contains(Sections, s) {
			return fmt.Errorf("bench: --only %q: want some of %s", s, strings.Join(Sections, ", "))
		}
	}
	switch {
	case c.Burst < 1000:
		return fmt.Errorf("bench: --burst %d: want at least 1000 events", c.Burst)
	case c.Events < 1000:
		return fmt.Errorf("bench: --events %d: want at least 1000", c.Events)
	case c.Phase < time.Second:
		return fmt.Errorf("bench: --phase %s: want at least 1s", c.Phase)
	}
	return nil
}

// Run measures the sections. With an error it returns what was measured before.
func Run(ctx context.Context, cfg Config, progress io.Writer) (*Report, error) {
	r := newReport(os.Args)
	var model *Limit
	steps := []struct {
		section string
		do      func() error
	}{
		{"path", func() error { return r.path(ctx, cfg, cfg.PathConfig, progress) }},
		{"inprocess", func() error {
			c := cfg.PathConfig
			c.InProcess = true
			return r.path(ctx, cfg, c, progress)
		}},
		{"mixed", func() error {
			c := cfg.PathConfig
			c.Mixed, c.Rates = true, cfg.MixRates
			if err := r.path(ctx, cfg, c, progress); err != nil {
				return err
			}
			c.InProcess = true
			return r.path(ctx, cfg, c, progress)
		}},
		{"recorded", func() error { return r.recorded(ctx, cfg, progress) }},
		{"hops", func() (err error) {
			r.HopRate = cfg.HopRate
			r.Hops, err = Hops(ctx, cfg.PathConfig, cfg.HopRate, progress)
			return err
		}},
		{"parts", func() (err error) { r.Parts, err = Parts(ctx, cfg.Bin, cfg.Events, progress); return err }},
		{"skew", func() (err error) {
			r.Skew, err = Skewed(ctx, cfg.PathConfig, cfg.HopRate, cfg.Events, progress)
			return err
		}},
		{"state", func() error { return r.state(ctx, cfg, progress) }},
		{"limits", func() error {
			l, err := RawModel(cfg.Models, time.Second)
			model = &l
			return err
		}},
		{"growth", func() (err error) {
			var more []Growth
			more, err = Grow(ctx, cfg.PathConfig, cfg.Models, cfg.Events, progress)
			r.Growth = append(r.Growth, more...)
			return err
		}},
		{"coldstart", func() (err error) { r.Cold, err = ColdStart(ctx, cfg.Bin, progress); return err }},
	}
	for _, s := range steps {
		if !cfg.wants(s.section) && !(s.section == "state" && (cfg.wants("limits") || cfg.wants("growth"))) {
			continue
		}
		began := time.Now()
		fmt.Fprintf(progress, "%s …\n", s.section)
		if err := s.do(); err != nil {
			return r, fmt.Errorf("%s: %w", s.section, err)
		}
		fmt.Fprintf(progress, "  (%s: %.0f s)\n", s.section, time.Since(began).Seconds())
	}
	r.Limits = r.limits(r.State, model)
	return r, nil
}

func (r *Report) path(ctx context.Context, cfg Config, c PathConfig, progress io.Writer) error {
	points, memory, err := Path(ctx, c, progress)
	r.Path = append(r.Path, points...)
	if r.Memory == nil && cfg.wants("memory") {
		r.Memory = memory
	}
	return err
}

// Cold is how long a function takes from exec to its first answered event, or to
// readiness if it is not on the path to a decision.
type Cold struct {
	Function string  `json:"function"`
	P50Ms    float64 `json:"p50_ms"`
	P99Ms    float64 `json:"p99_ms"`
}

// ColdStart runs the drill coldstart, which starts each function 50 times.
func ColdStart(ctx context.Context, bin string, progress io.Writer) (out []Cold, err error) {
	var took map[string]float64
	if err := figures(ctx, progress, &took, filepath.Join(bin, "drill"), "coldstart", "-function", filepath.Join(bin, "function")); err != nil {
		return nil, err
	}
	for _, f := range functions.Names() {
		if p50, ok := took[f+"_p50_ms"]; ok {
			out = append(out, Cold{f, p50, took[f+"_p99_ms"]})
		}
	}
	return out, nil
}

// recordedPlay is the file of recorded play whose mix of events is measured.
const recordedPlay = "csgo-openings-2023.csv.gz"

func (r *Report) recorded(ctx context.Context, cfg Config, progress io.Writer) error {
	file := filepath.Join(dataset.Folder(), recordedPlay)
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		r.Left = append(r.Left, "the mix of recorded play: no "+recordedPlay+" in the data folder (PITBOSS_DATA)")
		fmt.Fprintln(progress, " ", r.Left[len(r.Left)-1])
		return nil
	}
	c := cfg.PathConfig
	c.Mixed, c.Play = true, file
	return r.path(ctx, cfg, c, progress)
}

// state runs benchstate for the selected parts.
func (r *Report) state(ctx context.Context, cfg Config, progress io.Writer) (err error) {
	only := []string{"full"}
	if cfg.wants("limits") {
		only = append(only, "limits")
	}
	if cfg.wants("growth") {
		only = append(only, "sweep")
	}
	if cfg.wants("state") {
		only = append(only, "bytes")
	}
	if cfg.Proxy != "" {
		only = append(only, "proxy")
	} else {
		r.Left = append(r.Left, "the state path behind Knative's queue-proxy: --queue-proxy names its binary")
	}
	if r.State, err = MeasureState(ctx, cfg.Bin, strings.Join(only, ","), cfg.Proxy, min(5*time.Second, cfg.Phase), progress); err != nil {
		return err
	}
	for _, s := range r.State.Sweep {
		r.Growth = append(r.Growth, Growth{Of: "players", N: s.Players, Part: "profile and Redis", CPUUs: s.CPUUs, EventsPS: s.EventsPS})
	}
	return nil
}
