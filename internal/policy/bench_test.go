package policy

import (
	"testing"
	"time"

	"pitboss/internal/event"
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
