package policy

import (
	"maps"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// A policy changes nothing of its own decisions; one in which a rule forbids
// more stops what it forbids, and says by which rule.
func TestBacktestTellsWhatARuleWouldStop(t *testing.T) {
	t.Parallel()
	p := tempting(t)
	files := maps.Clone(p.Files())
	files["rules/GB.yaml"] = []byte(strings.Replace(string(files["rules/GB.yaml"]), "advertising: legal", "advertising: illegal", 1))
	strict, err := Parse(files, p.FeatureNames())
	if err != nil {
		t.Fatal(err)
	}
	stopped := 0
	rapid.Check(t, func(t *rapid.T) {
		in := anyone(t, p)
		in.Facts.Jurisdiction, in.Facts.Brand = "GB", "acme"
		if rapid.Bool().Draw(t, "tempted") { // nothing else stops marketing
			at := in.Now
			in = somebody(p, at)
			in.Facts.Brand = "acme"
		}
		r := &Record{Input: *in, Decision: *p.Decide(in)}
		same := NewBacktest()
		if same.Try(p, r, p.FeatureNames()); same.Changed != 0 || same.Decisions != 1 {
			t.Fatalf("the same policy changes %+v", same.Changes())
		}
		b := NewBacktest()
		b.Try(strict, r, p.FeatureNames())
		changes := b.Changes()
		if !r.Decision.Issued || r.Decision.Kind != Marketing {
			return // what is drawn among the others may change, too
		}
		stopped++
		if len(changes) != 1 {
			t.Fatalf("%s was issued: %+v", r.Decision.Action, changes)
		}
		if c := changes[0]; c.What == WouldSend || c.Rule != BlockAdvertising || c.Action != r.Decision.Action || c.Brand != "acme" || c.Examples[0] != in.Decision {
			t.Fatalf("%+v", c)
		}
	})
	if stopped == 0 {
		t.Error("no marketing was drawn: nothing was put to the test")
	}
}

// Features are found by name: a policy that knows others decides on what was
// stored, and what it lacks is missing.
func TestBacktestFindsFeaturesByName(t *testing.T) {
	t.Parallel()
	got, missing := arranged([]float64{1, 2, 3}, []string{"b"}, []string{"a", "b", "c"}, []string{"c", "new", "a", "b"})
	if got[0] != 3 || got[2] != 1 || strings.Join(missing, " ") != "new b" {
		t.Errorf("%v, missing %v", got, missing)
	}
}

func BenchmarkBacktest(b *testing.B) {
	p := policy(b)
	in := typical(p)
	open, sealed := (&Record{Input: *in, Decision: *p.Decide(in)}).Split()
	bt := NewBacktest()
	for b.Loop() {
		r, err := Join(open, sealed)
		if err != nil {
			b.Fatal(err)
		}
		bt.Try(p, r, p.FeatureNames())
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Minutes(), "decisions/min")
}
