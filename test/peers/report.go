package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

// report holds all figures.
type report struct {
	Label   string   `json:"label"`
	Systems []string `json:"systems"`
	Limits  struct {
		Limits struct {
			Evalsha float64 `json:"evalsha_per_s"`
			Post    float64 `json:"http_post_per_s"`
		} `json:"limits"`
	} `json:"machine"`
	Rows   []row    `json:"rows"`
	Starts []start  `json:"starts"`
	Failed []string `json:"failed,omitempty"`

	o options
}

func newReport(o options) (*report, error) {
	commit, err := exec.Command("git", "describe", "--always", "--dirty").Output()
	if err != nil {
		commit = []byte("unknown")
	}
	r := &report{o: o, Systems: o.systems}
	r.Label = fmt.Sprintf("%s, %d cores of %s, commit %s; %d × %s a phase, %d players, %g %% of the sends repeated", time.Now().UTC().Format(time.DateOnly),
		runtime.NumCPU(), processor(), strings.TrimSpace(string(commit)), o.reps, o.length, o.players, 100*o.again)
	if o.limits == "" {
		return r, nil
	}
	raw, err := os.ReadFile(o.limits)
	if err != nil {
		return nil, err
	}
	return r, json.Unmarshal(raw, &r.Limits)
}

func (r *report) writeJSON(file string) error {
	if file == "" {
		return nil
	}
	raw, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(raw, '\n'), 0o644)
}

// The lines that mark the table in a document.
const (
	begin = "<!-- make compare writes from here -->\n"
	end   = "<!-- to here -->\n"
)

func (r *report) writeDocs(file string) error {
	if file == "" {
		return nil
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(raw), begin)
	_, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		return errors.New(file + ": no place for the table: " + begin + end)
	}
	return os.WriteFile(file, []byte(before+begin+"\n"+r.markdown()+"\n"+end+after), 0o644)
}

// markdown returns a line that says what was measured, and a table with a column for each
// system.
func (r *report) markdown() string {
	var b strings.Builder
	fmt.Fprintln(&b, r.Label+".")
	if l := r.Limits.Limits; l.Evalsha > 0 {
		fmt.Fprintf(&b, "The machine's limits in the same hour: %.0f bare compare-and-set EVALSHA/s, %.0f acknowledged POSTs/s.\n", l.Evalsha, l.Post)
	}
	fmt.Fprintln(&b, r.noise())
	fmt.Fprintf(&b, "\n| | %s |\n|%s\n", strings.Join(r.Systems, " | "), strings.Repeat(" --- |", len(r.Systems)+1))
	for _, line := range r.lines() {
		fmt.Fprintf(&b, "| %s |", line.title)
		for _, s := range r.Systems {
			fmt.Fprintf(&b, " %s |", line.cell(s))
		}
		fmt.Fprintln(&b)
	}
	return b.String()
}

// noise says how much CPU others took, and which systems failed.
func (r *report) noise() string {
	worst := 0.0
	for _, w := range r.Rows {
		worst = max(worst, w.Others)
	}
	text := fmt.Sprintf("Other processes, the kernel's own and the host took at most %.0f %% of the processors in any phase.", 100*worst)
	if worst > 0.15 {
		text += " **That is too much: these figures are noisy.**"
	}
	if len(r.Failed) > 0 {
		text += " Failed: " + strings.Join(r.Failed, "; ") + "."
	}
	return text
}

type line struct {
	title string
	cell  func(system string) string
}

func (r *report) lines() (out []line) {
	add := func(title string, cell func(system string) string) { out = append(out, line{title, cell}) }
	for _, p := range r.o.phases(true) {
		switch {
		case p.kill:
			add(fmt.Sprintf("killed at %g/s: longest time without a result, ms", p.rate), r.of(p, "%.0f", func(w row) float64 { return w.Gap }))
			add("of its acknowledged events: lost, double, repeated", r.counts(func(w row) bool { return w.Phase == p.String() }))
		case p.rate > 0:
			add(fmt.Sprintf("%s at %g/s: p50, p99 ms", p.what, p.rate), r.latency(p))
			add(fmt.Sprintf("%s at %g/s: CPU µs an event", p.what, p.rate), r.of(p, "%.0f", row.cpu))
		default:
			add(fmt.Sprintf("%s, %s: events/s", p.what, p.draw), r.of(p, "%.0f", func(w row) float64 { return w.PerS }))
			add(fmt.Sprintf("%s, %s: CPU µs an event", p.what, p.draw), r.of(p, "%.0f", row.cpu))
		}
	}
	add("all other phases: lost, double, repeated", r.counts(func(w row) bool { return !strings.HasSuffix(w.Phase, "killed") }))
	add("all of it, empty, to the first result, ms", r.ofStart("%.0f", func(s start) []float64 { return []float64{s.All} }))
	add("the application alone, exec to first result, ms", r.ofStart("%.0f", func(s start) []float64 { return s.App }))
	add("resident at rest, MiB", r.ofStart("%.0f", func(s start) []float64 { return []float64{s.Rest} }))
	add("resident at most, MiB", r.ofStart("%.0f", func(s start) []float64 { return []float64{s.Peak} }))
	return out
}

func (r *report) rows(system string, want func(row) bool) (out []row) {
	for _, w := range r.Rows {
		if w.System == system && want(w) {
			out = append(out, w)
		}
	}
	return out
}

// of formats the median of a figure, with its spread if there is one.
func (r *report) of(p phase, format string, figure func(row) float64) func(string) string {
	return func(system string) string {
		var all []float64
		for _, w := range r.rows(system, func(w row) bool { return w.Phase == p.String() }) {
			all = append(all, figure(w))
		}
		return spread(format, all)
	}
}

func (r *report) ofStart(format string, figures func(start) []float64) func(string) string {
	return func(system string) string {
		var all []float64
		for _, s := range r.Starts {
			if s.System == system {
				all = append(all, figures(s)...)
			}
		}
		return spread(format, all)
	}
}

// latency formats p50 and p99, or the throughput of a system that cannot keep up, since its
// percentiles depend only on the length of the run.
func (r *report) latency(p phase) func(string) string {
	return func(system string) string {
		var p50, p99, perS []float64
		for _, w := range r.rows(system, func(w row) bool { return w.Phase == p.String() }) {
			p50, p99, perS = append(p50, w.P50), append(p99, w.P99), append(perS, w.PerS)
		}
		if len(perS) > 0 && median(perS) < 0.9*(1-r.o.again)*p.rate {
			return fmt.Sprintf("does not keep up: %.0f/s", median(perS))
		}
		if len(perS) == 0 {
			return spread("", nil)
		}
		return spread("%.1f", p50) + ", " + spread("%.1f", p99)
	}
}

func (r *report) counts(want func(row) bool) func(string) string {
	return func(system string) string {
		rows := r.rows(system, want)
		if len(rows) == 0 {
			return spread("", nil)
		}
		lost, double, repeated := 0, int64(0), 0
		for _, w := range rows {
			lost, double, repeated = lost+w.Lost, double+w.Double, repeated+w.Repeated
		}
		return fmt.Sprintf("%d, %d, %d", lost, double, repeated)
	}
}

func spread(format string, all []float64) string {
	if len(all) == 0 {
		return "—"
	}
	low, high := fmt.Sprintf(format, slices.Min(all)), fmt.Sprintf(format, slices.Max(all))
	mid := fmt.Sprintf(format, median(all))
	if low == high {
		return mid
	}
	return fmt.Sprintf("%s (%s to %s)", mid, low, high)
}

func median(all []float64) float64 {
	if len(all) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(all))[len(all)/2]
}
