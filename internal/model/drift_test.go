package model

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestDriftIsTheIndexOfTheShareSeenAgainstTheShareTrained(t *testing.T) {
	t.Parallel()
	d := newDrift(&Manifest{Features: []string{"a", "b"}, Histograms: map[string]Histogram{
		"b": {Edges: []float64{1, 2}, Shares: []float64{0.5, 0.3, 0.2}}}})
	seen := map[float64]float64{1: 0.2, 1.5: 0.3, 9: 0.5} // 1 belongs to the first bin: (-∞, 1]
	rng := rand.New(rand.NewPCG(1, 1))
	for range 2 * driftWindow {
		v := 9.0
		if u := rng.Float64(); u < 0.2 {
			v = 1
		} else if u < 0.5 {
			v = 1.5
		}
		d.observe([]float64{math.NaN(), v})
	}
	want := (seen[1]-0.5)*math.Log(seen[1]/0.5) + (seen[9]-0.2)*math.Log(seen[9]/0.2)
	told := 0
	d.psi(func(feature string, psi float64) {
		told++
		if feature != "b" || math.Abs(psi-want) > 0.05 {
			t.Errorf("%s has psi %v, want about %v", feature, psi, want)
		}
	})
	if told != 1 {
		t.Errorf("%d features told, want the one with a histogram", told)
	}
}

func TestDriftForgetsWhatIsTwoWindowsOld(t *testing.T) {
	t.Parallel()
	d := newDrift(&Manifest{Features: []string{"a"}, Histograms: map[string]Histogram{
		"a": {Edges: []float64{0}, Shares: []float64{0.5, 0.5}}}})
	read := func() (psi float64) { psi = -1; d.psi(func(_ string, v float64) { psi = v }); return psi }
	feed := func(n int, v func(i int) float64) {
		for i := range n {
			d.observe([]float64{v(i)})
		}
	}
	feed(driftWindow-1, func(int) float64 { return 1 })
	if psi := read(); psi != -1 {
		t.Errorf("psi %v is told before a window is full", psi)
	}
	feed(2*driftWindow, func(int) float64 { return 1 })
	if psi := read(); psi < 1 {
		t.Errorf("psi %v, want a large one: every value lies in one bin of two", psi)
	}
	feed(2*driftWindow+1, func(i int) float64 { return float64(i%2)*2 - 1 })
	if psi := read(); psi > 1e-3 {
		t.Errorf("psi %v, want about 0 after two windows like the training set", psi)
	}
}
