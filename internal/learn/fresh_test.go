package learn

import (
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"
)

// A model that has become wrong by a shift and a stretch is right again after
// some hundred outcomes; one that is right stays so. What is believed moves by a few
// points by chance.
func TestCalibrationFollows(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	c := NewCalibrator()
	if got := c.Fit().Apply(0.3); got != 0.3 {
		t.Errorf("without outcomes 0.3 becomes %v", got)
	}
	at := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	for _, truth := range []Calibration{{Slope: 1}, {Slope: 0.7, Offset: 0.5}, {Slope: 1.4, Offset: -0.6}} {
		got, fits := map[float64]float64{}, 0.0
		for i := range 12_000 {
			score := rng.Float64()
			c.Observe(at, score, score, rng.Float64() < truth.Apply(score))
			at = at.Add(10 * time.Second)
			if i < 6000 || i%100 > 0 {
				continue
			}
			fit := c.Fit()
			fits++
			for _, score := range []float64{0.1, 0.3, 0.5, 0.7, 0.9} {
				p, want := fit.Apply(score), truth.Apply(score)
				if got[score] += p; math.Abs(p-want) > 0.1 {
					t.Errorf("%+v: %v becomes %.3f, truth %.3f", truth, score, p, want)
				}
			}
		}
		for score, sum := range got {
			if want := truth.Apply(score); math.Abs(sum/fits-want) > 0.015 {
				t.Errorf("%+v: %v becomes %.3f on average, truth %.3f", truth, score, sum/fits, want)
			}
		}
		before := c.Fit()
		c.Forget()
		if after := c.Fit(); len(c.Slots) > 11_000*10/slotSeconds || math.Abs(after.Slope-before.Slope)+math.Abs(after.Offset-before.Offset) > 0.005 {
			t.Errorf("%d slots are kept; by them it is %+v, by all %+v", len(c.Slots), after, before)
		}
	}
}

// Scores near 0 or 1 that are wrong are where Newton's method goes too far: the fit
// is the least loss all the same.
func TestCalibrationOfScoresThatAreSure(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	for _, score := range []float64{1e-6, 0.0005, 0.002, 0.5, 0.999, 1} {
		for _, share := range []float64{0.05, 0.5, 0.95} {
			c := NewCalibrator()
			for i := range 10_000 {
				c.Observe(at, score, score, float64(i%100) < share*100)
			}
			fit := c.Fit()
			if got := fit.Apply(score); math.Abs(got-share) > 0.01 {
				t.Errorf("%v, of which %v came, becomes %.3f by %+v", score, share, got, fit)
			}
		}
	}
}

// In whatever order outcomes become known, and however they are parted, the sums
// are the same to the bit.
func TestCalibrationTakesOutcomesInAnyOrder(t *testing.T) {
	t.Parallel()
	type outcome struct {
		at        time.Time
		raw, said float64
		came      bool
	}
	rng := rand.New(rand.NewPCG(3, 4))
	at := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	var all []outcome
	for range 2000 {
		all = append(all, outcome{at.Add(time.Duration(rng.IntN(10*3600)) * time.Second), rng.Float64(), rng.Float64(), rng.IntN(2) == 0})
	}
	a, b := NewCalibrator(), NewCalibrator()
	for _, o := range all {
		a.Observe(o.at, o.raw, o.said, o.came)
	}
	rng.Shuffle(len(all), func(i, k int) { all[i], all[k] = all[k], all[i] })
	for _, o := range all {
		b.Observe(o.at, o.raw, o.said, o.came)
	}
	if !reflect.DeepEqual(a, b) || a.Fit() != b.Fit() || a.Errors() != b.Errors() {
		t.Errorf("%+v %+v", a.Fit(), b.Fit())
	}
}

// The errors are those of their definition, and what chance alone makes is told
// apart: scores that are right are as far off as that.
func TestCalibrationErrors(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(5, 6))
	at := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	var decided, chance float64
	const runs = 60
	for range runs {
		c := NewCalibrator()
		var n, raw, said, came [10]float64
		const outcomes = 1000
		for range outcomes {
			p := rng.Float64()
			given := p * p
			yes := rng.Float64() < p
			c.Observe(at, given, p, yes)
			i := min(9, int(given*10))
			n[i], raw[i], said[i] = n[i]+1, raw[i]+given, said[i]+p
			if yes {
				came[i]++
			}
		}
		var wantRaw, wantSaid float64
		for i := range n {
			wantRaw += math.Abs(raw[i]-came[i]) / outcomes
			wantSaid += math.Abs(said[i]-came[i]) / outcomes
		}
		e := c.Errors()
		if math.Abs(e.Raw-wantRaw) > 1e-5 || math.Abs(e.Decided-wantSaid) > 1e-5 || e.N != outcomes || e.AUC < 0.7 {
			t.Fatalf("%+v, want %v and %v", e, wantRaw, wantSaid)
		}
		decided, chance = decided+e.Decided/runs, chance+e.Chance/runs
	}
	if decided > chance*1.1 || decided < chance*0.8 {
		t.Errorf("of scores that are right the error is %.4f, by chance it should be %.4f", decided, chance)
	}
}

// A game that nobody knew is ranked after its first rounds, and a player's own
// games go before what others play.
func TestChainLearnsNewGames(t *testing.T) {
	t.Parallel()
	c := NewChain()
	for range 100 {
		c.Add("a", "b", 1)
		c.Add("b", "a", 1)
	}
	r := c.Ranker()
	if got := r.Rank([]string{"a"}, 2); len(got) != 2 || got[0].Game != "b" {
		t.Fatalf("%v", got)
	}
	if got := r.Rank([]string{"new"}, 3); len(got) != 3 || got[0].Game != "new" {
		t.Fatalf("after a game that is not known: %v", got)
	}
	for range 60 {
		c.Add("a", "new", 1)
	}
	if got := c.Ranker().Rank([]string{"a"}, 2); got[0].Game != "b" || got[1].Game != "new" {
		t.Errorf("%v", got)
	}
	if got := c.Ranker().Rank(nil, 2); got != nil {
		t.Errorf("of a player who played nothing: %v", got)
	}
}
