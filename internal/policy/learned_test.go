package policy

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pitboss/internal/learn"
)

func learnedSpec() *learn.Spec {
	return &learn.Spec{Version: 1, Mode: learn.Learning, Context: []learn.Column{{Name: "scores.leave", Scale: 1}, {Name: "features.session_minutes", Scale: 100}},
		Deviation: 500, Noise: 10, Ceiling: 1, Floor: 0.01, Draws: 32, Window: learn.Window(time.Hour),
		Rewards: map[string]map[string]float64{Service: {"accepted": 100}, Marketing: {"accepted": 100}}}
}

// learnedTempting is tempting where everybody but the holdout is in a learned
// arm, by a snapshot that may say anything of any action.
func learnedTempting(t *rapid.T, base *Policy) *Policy {
	spec := learnedSpec()
	actions := map[string]*learn.Sums{}
	for _, a := range base.Actions() { // of protection, too: it must not matter
		sums := spec.NewSums()
		for range rapid.IntRange(0, 3).Draw(t, "rows") {
			x := []float64{1, rapid.Float64Range(-8, 8).Draw(t, "x"), 0.5}
			sums.Add(spec.Row(x, Service, rapid.IntRange(1, learn.Ranks-1).Draw(t, "rank"), rapid.Float64Range(-1e5, 1e5).Draw(t, "guess")))
		}
		actions[a.ID] = sums
	}
	m, err := (&learn.Snapshot{Spec: *spec, Actions: actions}).Model()
	if err != nil {
		t.Fatal(err)
	}
	p := base.With(m).WithShadow(m)
	p.file.Experiment.Arms = []Arm{{Name: "learned", Share: 1, Learned: true}}
	return p
}

// Whatever was learned, nothing is sent that the oracle forbids, protection goes
// first, and the same input gives the same decision to the bit.
func TestLearningOnlyRanksWhatIsLeft(t *testing.T) {
	t.Parallel()
	base := tempting(t)
	issued := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		p := learnedTempting(t, base)
		in := anyone(t, p)
		f := featuresOf(p, in)
		for _, in.Facts.Jurisdiction = range jurisdictions {
			d := p.Decide(in)
			protect, sum := false, d.Propensity
			for _, c := range d.Candidates {
				protect = protect || c.Kind == Protection && len(c.Blocked) == 0
				if c.Propensity > 0 && len(c.Blocked) > 0 || c.Kind == Protection && c.Learned != 0 {
					t.Fatalf("%+v was weighed", c)
				}
				if d.Learned != "" {
					sum += c.Propensity
				}
			}
			checkShadow(t, p, in, d)
			if protect && d.Kind != Protection {
				t.Fatalf("protection was passed over: %+v", d)
			}
			if d.Learned != "" && d.Issued {
				if sum -= d.Propensity; sum > 1+1e-9 || !(d.Propensity > 0) {
					t.Fatalf("propensities %v: %+v", sum, d.Candidates)
				}
			}
			if d.Issued {
				issued[d.Kind]++
				decl := declOf(p, d.Action)
				if why := (&case_{in, decl, d.Channel, f}).forbidden(); len(why) > 0 {
					t.Fatalf("%s on %s in %q was sent, the oracle forbids it: %v", d.Action, d.Channel, in.Facts.Jurisdiction, why)
				}
				if d.Kind != Protection && oracleCaps(&p.file, in.Contacts.Sent, decl, in.Now) {
					t.Fatalf("%s was sent against the contact policy", d.Action)
				}
			}
			r := &Record{Input: *in, Decision: *d}
			if diff, err := p.Reproduce(r); err != nil || diff != "" {
				t.Fatal(diff, err)
			}
			if d.Learned != "" {
				if _, err := base.Reproduce(r); err == nil {
					t.Fatal("reproduced without the snapshot")
				}
			}
		}
	})
	if issued[Marketing] == 0 || issued[Service] == 0 || issued[Protection] == 0 {
		t.Errorf("issued %v: a test that never lets anything through proves nothing", issued)
	}
}

// checkShadow: what is in the shadow changes nothing, and would only choose what
// the live policy may choose.
func checkShadow(t *rapid.T, p *Policy, in *Input, d *Decision) {
	alone := *d
	alone.Shadow = nil
	a, err := canonical(&alone)
	if err != nil {
		t.Fatal(err)
	}
	b, err := canonical(p.WithShadow(nil).Decide(in))
	if diff := firstDifference(a, b); err != nil || diff != "" {
		t.Fatalf("the shadow changed the decision: %s %v", diff, err)
	}
	s := d.Shadow
	if s == nil || s.Action == NoAction {
		return
	}
	n := slices.IndexFunc(d.Candidates, func(c Candidate) bool { return c.Action == s.Action })
	if n < 0 || len(d.Candidates[n].Blocked) > 0 || d.Candidates[n].Kind == Protection || !(s.Propensity > 0) {
		t.Fatalf("in the shadow %+v would be chosen, of %+v", s, d.Candidates)
	}
	if d.Learned != "" && d.Issued && s.Action != d.Action { // by the same model, the same draw
		t.Fatalf("the model chose %s, and %s in the shadow", d.Action, s.Action)
	}
}

// The choice has the propensity that is logged.
func TestLearnedChoiceHasItsPropensity(t *testing.T) {
	t.Parallel()
	p := tempting(t)
	m, err := (&learn.Snapshot{Spec: *learnedSpec()}).Model()
	if err != nil {
		t.Fatal(err)
	}
	p = p.With(m)
	p.file.Experiment = Experiment{Salt: "s", Arms: []Arm{{Name: "learned", Share: 1, Learned: true}}}
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	in := &Input{Now: now, AsOf: now, Contacts: &Contacts{}, Scores: map[string]float64{"leave": .5, "harm": 0}, Features: make([]float64, len(p.FeatureNames()))}
	in.Facts.Jurisdiction, in.Facts.BirthDate, in.Facts.TimeZone, in.Facts.Consents = "GB", "1980-01-01", "Europe/London", map[string]bool{"all/all": true}
	const n = 4000
	expected, seen := map[string]float64{}, map[string]float64{}
	for i := range n {
		in.Player, in.Decision = fmt.Sprint("p", i), fmt.Sprint("d", i)
		d := p.Decide(in)
		for _, c := range d.Candidates {
			expected[c.Action] += c.Propensity
		}
		if d.Issued {
			seen[d.Action]++
		}
	}
	for action, want := range expected {
		if got := seen[action]; math.Abs(got-want) > 4*math.Sqrt(n/4) {
			t.Errorf("%s was chosen %v times, by its propensities %.1f", action, got, want)
		}
	}
	if len(seen) < 2 {
		t.Errorf("chosen: %v", seen)
	}
	in.Killed = []string{Switch("model", LearnedModel)}
	if d := p.Decide(in); d.Learned != "" || d.Propensity != 1 {
		t.Errorf("switched off, what was learned decides: %+v", d)
	}
}
