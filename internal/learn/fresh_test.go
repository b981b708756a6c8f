package learn

import (
	"math"
	"math/rand/v2"
	"testing"
)

// A model that has become wrong by a shift and a stretch is right again after
// some thousand outcomes; one that is right stays as it is.
func TestCalibrationFollows(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	var c Calibrator
	if got := c.Fit().Apply(0.3); math.Abs(got-0.3) > 1e-9 {
		t.Errorf("without outcomes 0.3 becomes %v", got)
	}
	for _, truth := range []Calibration{{}, {Slope: 0.7, Offset: 0.5}, {Slope: 1.4, Offset: -0.6}} {
		for range 15000 {
			score := rng.Float64()
			c.Observe(score, rng.Float64() < truth.Apply(score))
		}
		fit := c.Fit()
		for _, score := range []float64{0.1, 0.3, 0.5, 0.7, 0.9} {
			if got, want := fit.Apply(score), truth.Apply(score); math.Abs(got-want) > 0.03 {
				t.Errorf("%+v: %v becomes %.3f, truth %.3f", truth, score, got, want)
			}
		}
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
