package bench

import (
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/go-json-experiment/json"
)

// Report is what `pitboss-bench` measured, and writes as JSON.
type Report struct {
	Machine string            `json:"machine"`
	Commit  string            `json:"commit"`
	Command string            `json:"command"`
	Began   time.Time         `json:"began"`
	LoadAvg string            `json:"load_average"` // of the machine before the run
	Path    []Point           `json:"path,omitempty"`
	Hops    []Hop             `json:"hops,omitempty"`
	HopRate float64           `json:"hop_rate,omitempty"`
	Parts   []Part            `json:"parts,omitempty"`
	Skew    []Skew            `json:"skew,omitempty"`
	State   *State            `json:"state,omitempty"`
	Limits  []Limit           `json:"limits,omitempty"`
	Growth  []Growth          `json:"growth,omitempty"`
	Memory  map[string]Memory `json:"memory,omitempty"`
	Cold    []Cold            `json:"coldstart,omitempty"`
	Left    []string          `json:"left_out,omitempty"` // what was not measured, and why
}

func newReport(args []string) *Report {
	r := &Report{Began: time.Now().UTC().Truncate(time.Second), Commit: "unknown"}
	r.Command = strings.ReplaceAll(strings.Join(args, " "), os.Getenv("HOME"), "~")
	if out, err := exec.Command("git", "describe", "--always", "--dirty").Output(); err == nil {
		r.Commit = strings.TrimSpace(string(out))
	}
	if raw, err := os.ReadFile("/proc/loadavg"); err == nil {
		r.LoadAvg = strings.Join(strings.Fields(string(raw))[:3], " ")
	}
	model := ""
	if raw, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, rest, ok := strings.Cut(string(raw), "model name"); ok {
			line, _, _ := strings.Cut(rest, "\n")
			model = ", " + strings.Trim(line, " \t:")
		}
	}
	r.Machine = fmt.Sprintf("%d cores %s/%s%s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, model)
	return r
}

// ReadReport reads the figures that bench wrote as JSON.
func ReadReport(file string) (*Report, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	r := &Report{}
	if err := json.Unmarshal(raw, r); err != nil {
		return nil, fmt.Errorf("bench: %s holds no figures of pitboss-bench --json: %w", file, err)
	}
	return r, nil
}

// most returns the run's point at full speed, or the zero Point if it was not measured.
func (r *Report) most(run, delivery string) Point {
	for _, p := range r.Path {
		if p.Run == run && p.Delivery == delivery && p.Rate == 0 {
			return p
		}
	}
	return Point{}
}

// busiest returns the run's point at the highest open-loop rate, or at full speed if there
// is none.
func (r *Report) busiest(run, delivery string) Point {
	best := r.most(run, delivery)
	for _, p := range r.Path {
		if p.Run == run && p.Delivery == delivery && p.Rate > best.Rate {
			best = p
		}
	}
	return best
}

// components are in the order of an event's path.
var components = []string{"broker", "profile", "score", "decide", "redis"}

// Print writes the tables as Markdown, as docs/performance.md has them.
func (r *Report) Print(w io.Writer) {
	fmt.Fprintf(w, "\n%s · commit %s · %s · load average before: %s\n\n`%s`\n",
		r.Machine, r.Commit, r.Began.Format(time.RFC3339), r.LoadAvg, r.Command)
	t := &strings.Builder{}
	defer func() { markdown(w, t.String()) }()
	r.printPath(t)
	if len(r.Hops) > 0 {
		fmt.Fprintf(t, "\nhop, at %.0f/s\tmean ms since POST\tp99\tof the mean its own\tp99 of its own\t\n", r.HopRate)
		for _, h := range r.Hops {
			fmt.Fprintf(t, "%s\t%.2f\t%.1f\t%.2f\t%.1f\t\n", h.Name, h.SinceP, h.P99Ms, h.OwnMs, h.OwnP99)
		}
	}
	if len(r.Parts) > 0 {
		fmt.Fprint(t, "\nalone\tevents/s\tp99 ms\tCPU µs\tRedis µs\tbytes in\tbytes out\tbytes in Redis\t\n")
		for _, p := range r.Parts {
			fmt.Fprintf(t, "%s\t%.0f\t%.1f\t%.1f\t%.1f\t%.0f\t%.0f\t%.0f\t\n", p.Name, p.EventsPS, p.P99Ms, p.CPUUs, p.RedisUs, p.EventBytes, p.ReplyBytes, p.RedisBytes)
		}
	}
	r.printSkew(t)
	r.printState(t)
	if len(r.Growth) > 0 {
		fmt.Fprint(t, "\ngrowth\tn\tCPU µs an event\tof\tevents/s\t\n")
		for _, g := range r.Growth {
			fmt.Fprintf(t, "%s\t%d\t%.1f\t%s\t%.0f\t\n", g.Of, g.N, g.CPUUs, g.Part, g.EventsPS)
		}
	}
	if len(r.Memory) > 0 {
		fmt.Fprint(t, "\nmemory, MiB\tat rest\tat most under load\t\n")
		for _, part := range slices.Sorted(maps.Keys(r.Memory)) {
			fmt.Fprintf(t, "%s\t%.1f\t%.1f\t\n", part, float64(r.Memory[part].Rest)/(1<<20), float64(r.Memory[part].Load)/(1<<20))
		}
	}
	if len(r.Cold) > 0 {
		fmt.Fprint(t, "\ncold start, exec to first event answered (behind decide: to readiness)\tp50 ms\tp99 ms\t\n")
		for _, c := range r.Cold {
			fmt.Fprintf(t, "%s\t%.1f\t%.1f\t\n", c.Function, c.P50Ms, c.P99Ms)
		}
	}
	for _, left := range r.Left {
		fmt.Fprintf(t, "\nnot measured: %s\n", left)
	}
}

// markdown turns lines of tab-separated cells into Markdown tables. The first line of each
// is its head.
func markdown(w io.Writer, text string) {
	t := tabwriter.NewWriter(w, 0, 1, 1, ' ', 0)
	defer t.Flush()
	head := true
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\t")
		if !strings.Contains(line, "\t") {
			fmt.Fprintln(t, line)
			head = true
			continue
		}
		fmt.Fprintf(t, "| %s\t|\n", strings.ReplaceAll(line, "\t", "\t| "))
		if head {
			fmt.Fprintf(t, "| ---%s\t|\n", strings.Repeat("\t| ---", strings.Count(line, "\t")))
		}
		head = false
	}
}

func (r *Report) printPath(t io.Writer) {
	if len(r.Path) == 0 {
		return
	}
	fmt.Fprint(t, "\nwhole path\tdelivery\toffered/s\tdone/s\tdecided\tp50 ms\tp99\tp99.9\tCPU µs")
	for _, c := range components {
		fmt.Fprint(t, "\t", c)
	}
	fmt.Fprint(t, "\t\n")
	for _, p := range r.Path {
		rate := "max"
		if p.Rate > 0 {
			rate = fmt.Sprintf("%.0f", p.Rate)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%.0f\t%d of %d\t%.1f\t%.1f\t%.1f\t%.0f", p.Run, p.Delivery, rate, p.EventsPS, p.Decided, p.Events, p.P50Ms, p.P99Ms, p.P999Ms, p.CPUUs)
		for _, c := range components {
			fmt.Fprintf(t, "\t%.0f", p.CPUByPart[c])
		}
		fmt.Fprint(t, "\t\n")
	}
}

func (r *Report) printState(t io.Writer) {
	if s := r.State; s != nil && s.EventsPS > 0 {
		fmt.Fprintf(t, "\nstate path\tevents/s\tCPU µs an event\t\nalone\t%.0f\t%.1f\t\n", s.EventsPS, s.CPUUs)
		if s.ProxiedPS > 0 {
			fmt.Fprintf(t, "behind queue-proxy\t%.0f\t+ %.1f of the proxy\t\n", s.ProxiedPS, s.ProxyCPUUs)
		}
	}
	if len(r.Limits) > 0 {
		fmt.Fprint(t, "\nlimit of the machine\tper s\tCPU µs\tours\tper s\tratio\t\n")
		for _, l := range r.Limits {
			fmt.Fprintf(t, "%s\t%.0f\t%.1f\t%s\t%.0f\t%.2f\t\n", l.Name, l.PerS, l.CPU, l.Ours, l.OursPerS, l.Ratio)
		}
	}
}

// GoBench writes the figures in Go's benchmark format, for benchstat. The outputs of
// several runs, concatenated, are several samples.
func (r *Report) GoBench(w io.Writer) {
	fmt.Fprintf(w, "goos: %s\ngoarch: %s\npkg: pitboss\ncommit: %s\n", runtime.GOOS, runtime.GOARCH, r.Commit)
	line := func(name string, n int64, perS, cpu float64, more ...any) {
		fmt.Fprintf(w, "Benchmark%s %d %.2f events/s %.2f cpu-us/event", name, max(1, n), perS, cpu)
		for i := 0; i < len(more); i += 2 {
			fmt.Fprintf(w, " %.3f %s", more[i], more[i+1])
		}
		fmt.Fprintln(w)
	}
	names := map[string]string{RunEvery: "Every", RunMix: "Mix", RunRecorded: "Recorded", InProcess: "InProcess"}
	for _, p := range r.Path {
		if p.Rate == 0 {
			line("Path/run="+names[p.Run]+names[p.Delivery]+"/rate=max", p.Events, p.EventsPS, p.CPUUs) // its latency is that of the queue
			continue
		}
		line(fmt.Sprintf("Path/run=%s%s/rate=%.0f", names[p.Run], names[p.Delivery], p.Rate), p.Events, p.EventsPS, p.CPUUs,
			p.P50Ms, "p50-ms", p.P99Ms, "p99-ms", p.P999Ms, "p99.9-ms")
	}
	for _, p := range r.Parts {
		line("Alone/function="+p.Name, 1, p.EventsPS, p.CPUUs+p.RedisUs)
	}
	for _, s := range r.Skew {
		name := strings.NewReplacer(" ", "-", "(", "-", ")", "").Replace("path=" + s.Path + "/players=" + s.Players)
		line("Skew/"+name, 1, median(s.EventsPS), median(s.CPUUs), ofUniform(r.Skew, s), "of-uniform")
	}
	if r.State != nil && r.State.EventsPS > 0 {
		line("State", 1, r.State.EventsPS, r.State.CPUUs)
	}
	for _, g := range r.Growth {
		line(fmt.Sprintf("Growth/of=%s/n=%d", g.Of, g.N), 1, g.EventsPS, g.CPUUs)
	}
	for _, c := range r.Cold {
		fmt.Fprintf(w, "BenchmarkColdStart/function=%s 1 %.3f p50-ms %.3f p99-ms\n", c.Function, c.P50Ms, c.P99Ms)
	}
	for _, part := range slices.Sorted(maps.Keys(r.Memory)) {
		fmt.Fprintf(w, "BenchmarkMemory/part=%s 1 %d rest-bytes %d load-bytes\n", part, r.Memory[part].Rest, r.Memory[part].Load)
	}
}
