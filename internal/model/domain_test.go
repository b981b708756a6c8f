package model

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"pgregory.net/rapid"

	"pitboss/internal/event"
)

// A model speaks only of whom it was trained on. Two models may give one score,
// each of its own players; where both know the player, the higher counts.
func TestModelsSpeakOnlyOfTheirOwnPlayers(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	sports, casino := newMade("harm-a", "v1", 1, 9, 4, 2), newMade("harm-b", "v1", 2, 9, 4, 2)
	sports.output, sports.domain = "harm", "{products: [sports, poker], history: [f0], ranges: {f0: {min: 0.5}}}"
	casino.output, casino.domain = "harm", "{products: [casino, poker], ranges: {f0: {max: 0.75}, f1: {min: 0.1, max: 0.9}}}"
	for _, m := range []*made{sports, casino} {
		m.write(t, root)
	}
	r := mustServe(t, root, "harm-a: {live: v1}\nharm-b: {live: v1}\n")
	seen := map[int]int{}
	rapid.Check(t, func(t *rapid.T) {
		// Not FloatRange, which draws small numbers more often than not: every case must come.
		value := rapid.SampledFrom([]float32{0, 0.05, 0.2, 0.5, 0.6, 0.7, 0.75, 0.8, 0.95, 1})
		x := []float64{float64(value.Draw(t, "f0")), float64(value.Draw(t, "f1"))}
		product := rapid.SampledFrom([]string{"sports", "casino", "poker", "poker", "poker", "bingo", ""}).Draw(t, "product")
		in := updated(featuresOf(x, 0))
		in.Facts.LastProduct = product
		var out event.PlayerScored
		if err := NewScorer(r, 2).Score(in, &out); err != nil {
			t.Fatal(err)
		}
		var said []float64
		if (product == "sports" || product == "poker") && x[0] >= 0.5 {
			said = append(said, sports.probability(x))
		}
		if (product == "casino" || product == "poker") && x[0] <= 0.75 && x[1] >= 0.1 && x[1] <= 0.9 {
			said = append(said, casino.probability(x))
		}
		seen[len(said)]++
		got, ok := out.Scores["harm"]
		if ok != (len(said) > 0) {
			t.Fatalf("%s %v: known is %v, want %v (%+v)", product, x, ok, len(said) > 0, out.Models)
		}
		want := 0.0
		for _, p := range said {
			want = max(want, p)
		}
		if ok && !near(got, want, scoreTolerance) {
			t.Fatalf("%s %v: %v, want the higher of %v", product, x, got, said)
		}
		outside := 0
		for _, m := range out.Models {
			if m.Outside != "" {
				outside++
				new := product == "" || m.Name == "harm-a" && product != "casino" && product != "bingo" // else it is the product
				if m.TooNew != new {
					t.Fatalf("%s %v: too new is %v, want %v: %+v", product, x, m.TooNew, new, m)
				}
				if m.Score != 0 || m.Contributions != nil || !strings.Contains(m.Outside, "trained on") {
					t.Fatalf("%+v", m)
				}
			}
		}
		if len(out.Models) != 2 || outside != 2-len(said) {
			t.Fatalf("%d of %d runs are outside, want %d", outside, len(out.Models), 2-len(said))
		}
	})
	if seen[0] == 0 || seen[1] == 0 || seen[2] == 0 {
		t.Errorf("not all cases came: %v", seen)
	}
	in := updated(featuresOf([]float64{0.6, 0.5}, 0))
	in.Facts.LastProduct = "bingo"
	before := testutil.ToFloat64(modelOutside.WithLabelValues("harm-a", "v1", "live", "product"))
	if err := NewScorer(r, 2).Score(in, &event.PlayerScored{}); err != nil {
		t.Fatal(err)
	}
	if n := testutil.ToFloat64(modelOutside.WithLabelValues("harm-a", "v1", "live", "product")); n != before+1 {
		t.Errorf("not counted: %v, then %v", before, n)
	}
}

func TestDomainThatMeansNothingIsRefused(t *testing.T) {
	t.Parallel()
	for domain, want := range map[string]string{
		"{}":                                      "declares nothing",
		"{products: [roulette]}":                  `"roulette" is not a product`,
		"{ranges: {f9: {min: 1}}}":                `"f9" is not among`,
		"{ranges: {f0: {}}}":                      "give min, max or both",
		"{ranges: {f0: {min: 2, max: 1}}}":        "is above max",
		"{products: [casino], ages: {min: 18}}":   "ages",
		"{ranges: {f0: {least: 2}}}":              "least",
		"{history: [f0]}":                         "declares nothing",
		"{history: [f0], ranges: {f0: {max: 1}}}": `"f0" has no min`,
	} {
		root := t.TempDir()
		m := newMade("harm", "v1", 1, 1, 1, 1)
		m.domain = domain
		dir := m.write(t, root)
		if _, err := ReadManifest(dir, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", domain, err, want)
		}
	}
}
