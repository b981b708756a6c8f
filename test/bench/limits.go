package bench

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"pitboss/internal/model"
	"pitboss/test/cputime"
)

// Limit compares what the machine can do without Pitboss with what Pitboss does.
type Limit struct {
	Name string  `json:"name"`
	PerS float64 `json:"per_s"`
	CPU  float64 `json:"cpu_us"`
	// Ours is the part of Pitboss that has this limit.
	Ours     string  `json:"ours"`
	OursPerS float64 `json:"ours_per_s"`
	Ratio    float64 `json:"ratio"` // ours to the limit
}

// State holds benchstate's figures of player state. Its load runs in another process.
type State struct {
	EventsPS     float64 `json:"events_per_s"`
	CPUUs        float64 `json:"cpu_us_per_event"`
	P50Ms        float64 `json:"p50_ms"`
	P99Ms        float64 `json:"p99_ms"`
	ProxiedPS    float64 `json:"proxied_events_per_s"` // behind Knative's queue-proxy; 0: not measured
	ProxyCPUUs   float64 `json:"proxy_cpu_us"`
	PlayerBytes  float64 `json:"bytes_per_player_mean"`
	PlayerMedian float64 `json:"bytes_per_player_median"`
	PlayerP99    float64 `json:"bytes_per_player_p99"`
	Sweep        []struct {
		Players  int     `json:"players"`
		EventsPS float64 `json:"events_per_s"`
		CPUUs    float64 `json:"cpu_us_per_event"`
	} `json:"sweep"`
	Limits struct {
		Evalsha    float64 `json:"evalsha_per_s"`
		EvalshaCPU float64 `json:"evalsha_cpu_us"`
		HTTPPost   float64 `json:"http_post_per_s"`
		HTTPCPU    float64 `json:"http_post_cpu_us"`
	} `json:"limits"`
}

// cold is the cost of an event with the most players, as a multiple of the cost with ten
// thousand. It is 1 if that was not measured.
func (st *State) cold() float64 {
	var few, many float64
	for _, s := range st.Sweep {
		if s.Players == 10_000 {
			few = s.CPUUs
		}
		many = s.CPUUs
	}
	if few == 0 {
		return 1
	}
	return max(1, many/few)
}

// MeasureState runs benchstate in a process of its own. only lists its parts (limits,
// full, sweep, bytes, proxy); proxy is the queue-proxy's binary, or "".
func MeasureState(ctx context.Context, bin, only, proxy string, seconds time.Duration, progress io.Writer) (*State, error) {
	out := &State{}
	return out, figures(ctx, progress, out, filepath.Join(bin, "benchstate"), "-only", only, "-seconds", seconds.String(), "-proxy", proxy)
}

// figures runs a program that writes its figures to the file after -json, and
// reads them into v.
func figures(ctx context.Context, progress io.Writer, v any, program string, args ...string) error {
	dir, err := os.MkdirTemp("", "pitboss-bench-")
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "figures.json")
	cmd := exec.CommandContext(ctx, program, append(args, "-json", file)...)
	cmd.Stdout, cmd.Stderr = progress, progress
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("bench: %s (make bench builds it): %w", program, err)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return fmt.Errorf("bench: figures of %s: %w", program, err)
	}
	return nil
}

// RawModel calls the shipped leave model through ONNX Runtime, one row a call, as fast as
// one core can. The rows differ, since trees are faster on a repeated row.
func RawModel(models string, d time.Duration) (Limit, error) {
	l := Limit{Name: "ONNX Runtime: leave model, one row a call, one core", Ours: "score"}
	if err := model.OpenRuntime(model.Library(os.Getenv("ONNXRUNTIME_LIB"))); err != nil {
		return l, fmt.Errorf("bench: %w", err)
	}
	m, err := model.LoadModel(filepath.Join(models, "leave", "v1"), model.LoadOptions{Slots: 1})
	if err != nil {
		return l, fmt.Errorf("bench: %w", err)
	}
	defer m.Close()
	rows := rowsLike(m.Manifest, 1024)
	y := make([]float64, 1)
	cpu, _ := cputime.Of(os.Getpid())
	n, began := 0, time.Now()
	for ; n%1024 != 0 || time.Since(began) < d; n++ {
		if err := m.Score(rows[n%len(rows)], y); err != nil {
			return l, fmt.Errorf("bench: %w", err)
		}
	}
	after, _ := cputime.Of(os.Getpid())
	l.PerS = float64(n) / time.Since(began).Seconds()
	l.CPU = float64((after - cpu).Microseconds()) / float64(n)
	return l, nil
}

// rowsLike draws rows of features like those of the training set.
func rowsLike(m *model.Manifest, n int) []model.Row {
	rng := rand.New(rand.NewPCG(1, 2))
	rows := make([]model.Row, n)
	for i := range rows {
		rows[i] = model.Row{Numbers: make([]float64, len(m.Features))}
		for j, name := range m.Features {
			if edges := m.Histograms[name].Edges; len(edges) > 0 {
				rows[i].Numbers[j] = float64(float32(edges[rng.IntN(len(edges))] * (0.9 + 0.2*rng.Float64())))
			}
		}
	}
	return rows
}

// Limits compares the figures of the run with what the machine can do.
func (r *Report) limits(st *State, model *Limit) (out []Limit) {
	add := func(l Limit) {
		if l.PerS > 0 { // measured
			l.Ratio = l.OursPerS / l.PerS
			out = append(out, l)
		}
	}
	part := func(name string) (perS float64) {
		if i := slices.IndexFunc(r.Parts, func(p Part) bool { return p.Name == name }); i >= 0 {
			perS = r.Parts[i].EventsPS
		}
		return perS
	}
	if st != nil {
		add(Limit{Name: "Redis: compare-and-set EVALSHA, 1 KB", PerS: st.Limits.Evalsha, CPU: st.Limits.EvalshaCPU,
			Ours: "state path", OursPerS: st.EventsPS})
		add(Limit{Name: "HTTP: CloudEvent POST, acknowledged only", PerS: st.Limits.HTTPPost, CPU: st.Limits.HTTPCPU,
			Ours: "state path", OursPerS: st.EventsPS})
		add(Limit{Name: "HTTP: the four POSTs of a decided event", PerS: st.Limits.HTTPPost / 4, CPU: 4 * st.Limits.HTTPCPU,
			Ours: "whole path, " + RunEvery, OursPerS: r.most(RunEvery, OverHTTP).EventsPS})
		if in := r.most(RunEvery, InProcess); in.EventsPS > 0 {
			add(Limit{Name: "Redis: compare-and-set EVALSHA, 1 KB", PerS: st.Limits.Evalsha, CPU: st.Limits.EvalshaCPU,
				Ours: "whole path in process, " + RunEvery, OursPerS: in.EventsPS})
		}
	}
	if model != nil {
		model.OursPerS = part(strings.ToLower(model.Ours))
		add(*model)
	}
	return out
}
