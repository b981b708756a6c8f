package bench

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"

	"pitboss/internal/feature"
	"pitboss/internal/policy"
)

func TestADaysCurveHasMeanOneAndItsPeakAtEight(t *testing.T) {
	t.Parallel()
	const n = 86400
	sum, peak, at := 0.0, 0.0, 0
	for i := range n {
		x := Diurnal(float64(i) / n)
		sum += x
		if x > peak {
			peak, at = x, i
		}
	}
	if mean := sum / n; math.Abs(mean-1) > 1e-6 {
		t.Errorf("mean %.7f", mean)
	}
	if math.Abs(peak-4.9) > 0.05 || at/3600 != 19 && at/3600 != 20 {
		t.Errorf("peak %.2f at %s", peak, time.Duration(at)*time.Second)
	}
}

func line(perSample, noise float64, n int) []Sample {
	out := make([]Sample, n)
	for i := range out {
		out[i] = Sample{At: float64(i) * 10, Redis: int64((100 + perSample*float64(i) + noise*float64(i%3)) * (1 << 20))}
	}
	return out
}

func TestATrendTellsGrowthFromNoise(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what             string
		perSample, noise float64
		n                int
		want             string
	}{
		{"a leak", 0.5, 0.1, 60, grows},
		{"noise", 0, 20, 60, flat},
		{"shrinking", -0.5, 0.1, 60, flat},
		{"a leak slower than a tenth an hour", 0.01, 0, 60, flat},
		{"ten samples", 0.5, 0.1, 10, tooShort},
		{"three minutes", 0.5, 0.1, 20, tooShort},
		{"none", 0, 0, 0, tooShort},
	} {
		got := trend("Redis", line(c.perSample, c.noise, c.n), func(s Sample) float64 { return float64(s.Redis) / (1 << 20) })
		if got.Verdict != c.want {
			t.Errorf("%s: %s (%+.2f an hour), want %s", c.what, got.Verdict, got.PerHour, c.want)
		}
	}
	leak := trend("Redis", line(0.5, 0, 60), func(s Sample) float64 { return float64(s.Redis) / (1 << 20) })
	if math.Abs(leak.PerHour-180) > 0.1 {
		t.Errorf("0.5 MiB every 10 s is 180 an hour, not %.2f", leak.PerHour)
	}
}

const exposition = `# TYPE pitboss_since_received_seconds histogram
pitboss_since_received_seconds_bucket{function="score",le="0.001"} 10
pitboss_since_received_seconds_bucket{function="score",le="0.002"} 90
pitboss_since_received_seconds_bucket{function="score",le="0.01"} 100
pitboss_since_received_seconds_bucket{function="score",le="+Inf"} 100
pitboss_since_received_seconds_sum{function="score"} 0.2
pitboss_since_received_seconds_count{function="score"} 100
other{text="with a space"} 7
go_goroutines 12
`

func TestHistogramsAreReadOffAnExposition(t *testing.T) {
	t.Parallel()
	s, err := parseSamples([]byte(exposition))
	if err != nil {
		t.Fatal(err)
	}
	if s["go_goroutines"] != 12 || s[`other{text="with a space"}`] != 7 {
		t.Errorf("read %v", s)
	}
	if mean := s.mean("pitboss_since_received_seconds", "score"); math.Abs(mean-0.002) > 1e-9 {
		t.Errorf("mean %v", mean)
	}
	for q, want := range map[float64]float64{0.5: 0.0015, 0.95: 0.006, 0.05: 0.0005} {
		if got := s.quantile("pitboss_since_received_seconds", "score", q); math.Abs(got-want) > 1e-9 {
			t.Errorf("quantile %v: %v, want %v", q, got, want)
		}
	}
}

func TestRecordedPlayIsMovedToNowAndNeverRepeatsAnID(t *testing.T) {
	t.Parallel()
	begin := time.Date(2023, 2, 6, 0, 0, 0, 0, time.UTC)
	var events []*ce.Event
	for i, id := range []string{"a", "b", "c"} {
		e := ce.New()
		e.SetID(id)
		e.SetTime(begin.Add(time.Duration(i) * time.Minute))
		events = append(events, &e)
	}
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	r := newRecording(events, 8, now)
	ids, last := map[string]bool{}, time.Time{}
	for range 8 {
		e := r.Next()
		if ids[e.ID()] || !e.Time().After(last) {
			t.Errorf("%s at %s after %s", e.ID(), e.Time(), last)
		}
		ids[e.ID()], last = true, e.Time()
	}
	if !last.Equal(now) {
		t.Errorf("the last happens at %s, not now", last)
	}
	if !events[0].Time().Equal(begin) {
		t.Error("the recording itself was changed")
	}
}

// TestGeneratedFilesLoad: what growth measures are files that production code accepts.
func TestGeneratedFilesLoad(t *testing.T) {
	t.Parallel()
	for _, n := range growthFeatures {
		text, err := features("../../models", n)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "features.yaml")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		names, err := feature.Names(file)
		if err != nil || len(names) != n {
			t.Errorf("%d features: %d (%v)", n, len(names), err)
		}
		if _, err := feature.Load(file); err != nil {
			t.Errorf("%d features: %v", n, err)
		}
	}
	names, err := feature.Names("../../models/features.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := modelsWith("../../models", rules(500))
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if _, err := policy.Load(dir, names); err != nil {
		t.Errorf("500 rules: %v", err)
	}
}

func report() *Report {
	return &Report{
		Commit: "abc", Path: []Point{
			{Run: RunMix, Delivery: OverHTTP, Events: 1000, Decided: 50, EventsPS: 9000, CPUUs: 100,
				CPUByPart: map[string]float64{"broker": 40, "profile": 30, "score": 5, "decide": 15, "redis": 10}},
			{Run: RunMix, Delivery: OverHTTP, Rate: 250, Events: 1000, EventsPS: 250, P50Ms: 2, P99Ms: 9,
				CPUByPart: map[string]float64{"profile": 60, "score": 10, "decide": 30, "redis": 20}},
		},
		Parts: []Part{{Name: "profile", EventBytes: 500, ReplyBytes: 2000}, {Name: "score", ReplyBytes: 3000},
			{Name: "decide", ReplyBytes: 1000, RedisBytes: 2000}},
		State: &State{PlayerBytes: 1000, ProxyCPUUs: 100},
	}
}

func TestSizingFollowsFromTheFigures(t *testing.T) {
	t.Parallel()
	d := Demand{EventsADay: 86.4e6, Peak: 5, Players: 10e6, Busy: 0.5, NodeCores: 1, ShardGB: 10, Replicas: 1, JournalDays: 2, PartitionMB: 1, PartitionEvents: 500}
	s, err := d.Size(report())
	if err != nil {
		t.Fatal(err)
	}
	functions := s.Cores[len(s.Cores)-1]
	for _, c := range []struct {
		what      string
		got, want float64
	}{
		{"events/s", s.Mean, 1000}, {"at the peak", s.Top, 5000}, {"due", s.Due, 0.05},
		{"cores of the functions", functions.Mean, 0.1}, {"at the peak", functions.Top, 0.25},
		{"cores of queue-proxies", s.Cores[len(s.Cores)-2].Mean, 0.11}, {"nodes", float64(s.Nodes), 2},
		{"GB of state", s.StateGB, 10}, {"GB of journal", s.JournalGB, 17.28}, {"shards", float64(s.ShardsGB), 3}, {"shards by CPU", float64(s.ShardsCPU), 1},
		{"messages", s.Messages, 1.15}, {"bytes", s.Bytes, 800}, {"partitions", float64(s.Partitions), 12},
	} {
		if math.Abs(c.got-c.want) > 1e-9*max(1, c.want) {
			t.Errorf("%s: %v, want %v", c.what, c.got, c.want)
		}
	}
	for _, missing := range []*Report{{}, {Path: report().Path}, {Path: report().Path, Parts: report().Parts}} {
		if _, err := d.Size(missing); err == nil || !strings.Contains(err.Error(), "the figures hold no") {
			t.Errorf("sized from nothing: %v", err)
		}
	}
}

func TestFiguresAreWrittenForBenchstat(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	report().GoBench(&b)
	for _, want := range []string{
		"BenchmarkPath/run=Mix/rate=max 1000 9000.00 events/s 100.00 cpu-us/event\n",
		"BenchmarkPath/run=Mix/rate=250 1000 250.00 events/s 0.00 cpu-us/event 2.000 p50-ms 9.000 p99-ms 0.000 p99.9-ms\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

func TestPlotsAreDrawn(t *testing.T) {
	t.Parallel()
	r := report()
	r.Hops = []Hop{{Name: "profile", SinceP: 2, OwnMs: 0.5}, {Name: "score", SinceP: 3, OwnMs: 0.2}}
	dir := t.TempDir()
	if err := r.Plot(dir); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"bench-latency.svg": "mix, HTTP", "bench-cpu.svg": "broker", "bench-hops.svg": "profile"} {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !strings.Contains(string(raw), want) {
			t.Errorf("%s holds no %q (%v)", name, want, err)
		}
	}
}
