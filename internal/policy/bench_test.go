package policy

import (
	"testing"
	"time"

	"pitboss/internal/event"
	"pitboss/internal/learn"
	"pitboss/test/cputime"
)

// typical is a player of GB with a failed game and all marketing eligible.
func typical(p *Policy) *Input {
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	in := &Input{Decision: "d", Player: "p", Now: now, AsOf: now, Contacts: &Contacts{}, Features: make([]float64, len(p.FeatureNames())),
		Facts:  event.Facts{Jurisdiction: "GB", BirthDate: "1986-01-01", TimeZone: "Europe/London", Consents: map[string]bool{"all/all": true}},
		Scores: map[string]float64{"leave": 0.8, "harm": 0.1}, Ranking: []event.Ranked{{Item: "book", Score: 1}}}
	for i, name := range p.FeatureNames() {
		switch name {
		case "load_fails_10m":
			in.Features[i] = 2
		case "rounds_total", "rounds_24h":
			in.Features[i] = 300
		case "since_deposit_s":
			in.Features[i] = 1e6
		}
	}
	for i := range 20 {
		at := now.Add(-time.Duration(20-i) * 24 * time.Hour)
		in.Contacts.Sent = append(in.Contacts.Sent, Sent{Decision: "x", At: at, Expires: at.Add(time.Hour), Kind: 's', Action: ActionCode("payment_help")})
	}
	return in
}

func BenchmarkDecide(b *testing.B) {
	p := policy(b)
	for _, jurisdiction := range []string{"GB", "NL", "??"} {
		b.Run(jurisdiction, func(b *testing.B) {
			in := typical(p)
			in.Facts.Jurisdiction = jurisdiction
			b.ReportAllocs()
			for b.Loop() {
				p.Decide(in)
			}
		})
	}
}

func BenchmarkSplit(b *testing.B) {
	p := policy(b)
	in := typical(p)
	r := &Record{Input: *in, Decision: *p.Decide(in)}
	b.ReportAllocs()
	for b.Loop() {
		r.Split()
	}
}

// BenchmarkLearning is a whole decision, with its journal entry's parts: by the
// values, by what was learned, and with a candidate in the shadow besides. The
// difference in cpu-us/op is what learning adds.
func BenchmarkLearning(b *testing.B) {
	base := policy(b)
	spec, err := learn.ReadSpec("../../models/learning.yaml")
	if err != nil {
		b.Fatal(err)
	}
	actions := map[string]*learn.Sums{}
	for i, a := range base.Actions() {
		sums := spec.NewSums()
		for k := range 200 {
			sums.Add(spec.Row([]float64{1, float64(k%10) / 10, 0.2}, a.Kind, []int{1, 5, 4}[(k+i)%3], 40))
		}
		actions[a.ID] = sums
	}
	m, err := (&learn.Snapshot{Spec: *spec, Actions: actions}).Model()
	if err != nil {
		b.Fatal(err)
	}
	learned := base.With(m)
	learned.file.Experiment.Arms = []Arm{{Name: "learned", Share: 1, Learned: true}}
	learned.file.Experiment.Holdout = 0
	values := base.With(nil)
	values.file.Experiment = learned.file.Experiment
	for _, c := range []struct {
		name string
		p    *Policy
	}{{"values", values}, {"learned", learned}, {"shadow", learned.WithShadow(m)}} {
		b.Run(c.name, func(b *testing.B) {
			in := typical(c.p)
			if d := c.p.Decide(in); (d.Learned != "") != (c.name != "values") {
				b.Fatalf("%+v", d)
			}
			b.ReportAllocs()
			before := cputime.Own(b)
			for b.Loop() {
				r := Record{Input: *in, Decision: *c.p.Decide(in)}
				r.Split()
			}
			b.ReportMetric(float64((cputime.Own(b)-before).Nanoseconds())/1e3/float64(b.N), "cpu-us/op")
		})
	}
}
