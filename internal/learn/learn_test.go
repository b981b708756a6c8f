package learn

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func spec(context ...string) *Spec {
	s := &Spec{Version: 1, Mode: Learning, Deviation: 50, Noise: 40, Ceiling: 1, Draws: 100, Window: 1,
		Rewards: map[string]map[string]float64{"service": {"accepted": 100, "dismissed": -10}, "marketing": {"accepted": 100}}}
	for _, c := range context {
		s.Context = append(s.Context, Column{Name: c, Scale: 1})
	}
	return s
}

func model(tb testing.TB, s *Spec, actions map[string]*Sums) *Model {
	tb.Helper()
	m, err := (&Snapshot{Spec: *s, Actions: actions}).Model()
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// A new action starts at its author's guess; data moves it to the truth.
func TestNewActionsStartAtTheGuessAndLearnTheTruth(t *testing.T) {
	t.Parallel()
	s := spec("features.a")
	rng := rand.New(rand.NewPCG(1, 2))
	sums := s.NewSums()
	m := model(t, s, nil)
	if mean, dev := m.Worth("new", []float64{1, 0.5}); mean != 0 || math.Abs(dev-50*math.Sqrt(1.25)) > 1e-9 {
		t.Errorf("a new action is %v ± %v from its guess", mean, dev)
	}
	for range 20000 {
		x := []float64{1, fixed(rng.Float64()) / unit}
		rank := Rank("issued")
		if rng.Float64() < 0.2+0.5*x[1] {
			rank = Rank("accepted")
		}
		sums.Add(s.Row(x, "service", rank, 80))
	}
	m = model(t, s, map[string]*Sums{"a": sums})
	for _, x := range []float64{0, 0.5, 1} {
		mean, dev := m.Worth("a", []float64{1, x})
		if want := 100*(0.2+0.5*x) - 80; math.Abs(mean-want) > 4*dev || dev > 2 {
			t.Errorf("at %v: %v ± %v, truth %v", x, mean, dev, want)
		}
	}
}

// Sums are integers: in whatever order and on however many instances they are
// added, the snapshot is the same to the bit.
func TestSumsDoNotDependOnOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := spec("features.a", "scores.b")
		n := rapid.IntRange(1, 30).Draw(t, "n")
		rows := make([]*Sums, n)
		for i := range rows {
			get := func(string) (float64, bool) { return rapid.Float64Range(-20, 20).Draw(t, "x"), true }
			x, _ := s.X(get)
			rows[i] = s.Row(x, "service", rapid.IntRange(1, Ranks-1).Draw(t, "rank"), rapid.Float64Range(-1e7, 1e7).Draw(t, "guess"))
		}
		text := func(rows []*Sums, parts int) string {
			shards := make([]*Sums, parts)
			for i := range shards {
				shards[i] = s.NewSums()
			}
			for i, r := range rows {
				shards[i%parts].Add(r)
			}
			total := s.NewSums()
			for _, p := range shards {
				total.Add(p)
			}
			b, _, err := (&Snapshot{Spec: *s, Actions: map[string]*Sums{"a": total}}).Text()
			if err != nil {
				t.Fatal(err)
			}
			return string(b)
		}
		want := text(rows, 1)
		if got := text(rapid.Permutation(rows).Draw(t, "order"), rapid.IntRange(1, 5).Draw(t, "shards")); got != want {
			t.Fatalf("%s\n%s", want, got)
		}
	})
}

// Propensities sum to 1 with nothing's, keep floor and ceiling, and repeat to the bit.
func TestPropensities(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := spec("features.a")
		s.Floor, s.Ceiling = rapid.Float64Range(0, 0.1).Draw(t, "floor"), rapid.Float64Range(0, 1).Draw(t, "ceiling")
		sums := s.NewSums()
		for range rapid.IntRange(0, 20).Draw(t, "n") {
			sums.Add(s.Row([]float64{1, rapid.Float64Range(-1, 1).Draw(t, "x")}, "service", rapid.IntRange(1, Ranks-1).Draw(t, "rank"), 50))
		}
		snap := &Snapshot{Spec: *s, Actions: map[string]*Sums{"a0": sums}}
		m, err := snap.Model()
		if err != nil {
			t.Fatal(err)
		}
		options := make([]Option, rapid.IntRange(1, 40).Draw(t, "options"))
		for i := range options {
			options[i] = Option{Action: fmt.Sprint("a", i), Guess: rapid.Float64Range(-100, 100).Draw(t, "guess")}
		}
		x, seed := []float64{1, 0.25}, rapid.Uint64().Draw(t, "seed")
		again := slices.Clone(options)
		none := m.Weigh(options, x, seed)
		sum, best, looks := none, none, 0.0
		floor := min(s.Floor, 0.5/float64(len(options)))
		for _, o := range options {
			sum += o.Propensity
			if o.Propensity < floor {
				t.Fatalf("%+v is below the floor %v", o, floor)
			}
			if o.Worth > looks {
				looks, best = o.Worth, o.Propensity
			}
		}
		if math.Abs(sum-1) > 1e-12 {
			t.Fatalf("propensities sum to %v", sum)
		}
		if floors := floor * float64(len(options)); 1-best > s.Ceiling*(1-floors)+floors+1e-12 {
			t.Fatalf("%v go to others than the best, ceiling %v", 1-best, s.Ceiling)
		}
		text, _, err := snap.Text()
		if err != nil {
			t.Fatal(err)
		}
		m2, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if n := m2.Weigh(again, x, seed); n != none || !slices.Equal(again, options) || m2.Hash != m.Hash {
			t.Fatalf("%v %+v\n%v %+v", none, options, n, again)
		}
	})
}

// Looked at after every value, the confidence sequence holds the truth all the
// way in at least 95 % of 1,000 streams; a fixed-time interval does not.
func TestConfidenceSequenceMayBeLookedAtAnyTime(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 4))
	const runs, length, truth = 1000, 3000, 0.1
	held, fixedHeld := 0, 0
	for range runs {
		var m Moments
		ok, fixedOK := true, true
		for range length {
			v := 0.0
			if rng.Float64() < truth {
				v = 1
			}
			m.Add(v)
			i := m.Always(0.05, 1000)
			ok = ok && i.Low <= truth && truth <= i.High
			if m.N >= sequenceFrom {
				fixedOK = fixedOK && math.Abs(m.Mean-truth) <= 1.96*math.Sqrt(m.Variance()/float64(m.N))
			}
		}
		if ok {
			held++
		}
		if fixedOK {
			fixedHeld++
		}
	}
	t.Logf("held all the way: sequence %d, fixed-time interval %d of %d", held, fixedHeld, runs)
	if held < 950 || fixedHeld > 850 {
		t.Errorf("held all the way: sequence %d, fixed-time interval %d of %d", held, fixedHeld, runs)
	}
}

// BenchmarkWeigh is what learning adds to a decision between four actions. cpu-us/op
// is processor time, which other work on the machine does not change much.
func BenchmarkWeigh(b *testing.B) {
	m := model(b, spec("features.a", "scores.b", "scores.c"), nil)
	options := []Option{{Action: "a", Guess: 50}, {Action: "b", Guess: 60}, {Action: "c", Guess: 40}, {Action: "d", Guess: 70}}
	x := []float64{1, 0.5, 0.2, 0.9}
	before := cpu(b)
	for seed := uint64(0); b.Loop(); seed++ {
		m.Weigh(options, x, seed)
	}
	b.ReportMetric(float64((cpu(b)-before).Nanoseconds())/1e3/float64(b.N), "cpu-us/op")
}

func cpu(tb testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
