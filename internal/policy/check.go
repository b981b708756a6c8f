package policy

import (
	"cmp"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"

	"pitboss/internal/event"
	"pitboss/internal/strictyaml"
)

// CheckReport counts what [Policy.Check] checked.
type CheckReport struct {
	Packs, Rules, Tests, Unreviewed, UnreviewedPacks, Markers int
}

// Check runs the examples of each rule and marker. Each needs an example on either
// side: one that passes (or raises the marker) and one that does not. The error is
// a [strictyaml.Problems].
func (p *Policy) Check() (CheckReport, error) {
	var rep CheckReport
	var problems strictyaml.Problems
	for _, name := range p.order {
		k := p.packs[name]
		rep.Packs++
		if k.decl.Reviewed != nil && !*k.decl.Reviewed {
			rep.UnreviewedPacks++
		}
		for i := range k.decl.Rules {
			d := &k.decl.Rules[i]
			rep.Rules++
			if !d.Reviewed {
				rep.Unreviewed++
			}
			problems = append(problems, rep.examples(k.src, fmt.Sprintf("$.rules[%d]", i), "rule "+d.ID, VerdictPass, d.Tests,
				func(t *RuleTest) (string, error) { return p.try(k, d, t) })...)
		}
	}
	src := newSource(markersName, p.files[markersName])
	for i, m := range p.markers {
		rep.Markers++
		if !m.decl.Reviewed {
			rep.Unreviewed++
		}
		problems = append(problems, rep.examples(src, fmt.Sprintf("$.markers[%d]", i), "marker "+m.decl.ID, markerRaised, m.decl.Tests,
			func(t *RuleTest) (string, error) { return p.tryMarker(m, t) })...)
	}
	if len(problems) > 0 {
		return rep, fmt.Errorf("policy: %w", problems)
	}
	return rep, nil
}

// examples runs the examples of a rule or marker. At least one must expect a result,
// and at least one must expect another.
func (rep *CheckReport) examples(src *source, path, what, result string, tests []RuleTest, try func(*RuleTest) (string, error)) (problems strictyaml.Problems) {
	seen := map[bool]bool{}
	for i := range tests {
		t := &tests[i]
		rep.Tests++
		seen[t.Expect == result] = true
		got, err := try(t)
		if err == nil && got != t.Expect {
			err = fmt.Errorf("expected %s, got %s", t.Expect, got)
		}
		if err != nil {
			problems = append(problems, src.problem(fmt.Sprintf("%s.tests[%d]", path, i), what+": test "+t.Name, "correct the declaration or the example", "%v", err))
		}
	}
	if !seen[true] || !seen[false] {
		problems = append(problems, src.problem(path, what, "give one example that expects "+result+" and one that does not", "the examples don't show both sides"))
	}
	return problems
}

// What a marker's example expects.
const (
	markerRaised = "raised"
	markerQuiet  = "quiet"
)

func (p *Policy) tryMarker(m *marker, t *RuleTest) (string, error) {
	where := "GB"
	if len(m.decl.Jurisdictions) > 0 {
		where = m.decl.Jurisdictions[0]
	}
	in, err := p.testInput(where, t)
	if err != nil {
		return "", err
	}
	for _, found := range p.evaluate(in).markers {
		if found.ID == m.decl.ID {
			return markerRaised, nil
		}
	}
	return markerQuiet, nil
}

// try applies one rule to the player and the action of a test.
func (p *Policy) try(k *pack, d *RuleDecl, t *RuleTest) (string, error) {
	in, err := p.testInput(k.decl.Pack, t)
	if err != nil {
		return "", err
	}
	a := t.Action.compile(d)
	e := p.evaluate(in)
	e.rules = nil
	for _, r := range k.rules {
		if r.decl.ID == d.ID && r.decl.Effective.at(in.Now) {
			e.rules = []*rule{r}
		}
	}
	e.fixed, e.verdicts = make([]truth, len(e.rules)), make([]Verdict, len(e.rules))
	e.scope.act, e.scope.channel = a, a.decl.Channels[0]
	blocked, review := e.judge(a)
	switch {
	case len(blocked) > 0:
		return VerdictDeny, nil
	case len(review) > 0:
		return VerdictReview, nil
	}
	return VerdictPass, nil
}

func (p *Policy) testInput(jurisdiction string, t *RuleTest) (*Input, error) {
	in := &Input{Decision: "test", Player: "test", Now: time.Date(2026, 6, 15, 12, 0, 0, 0, time.UTC), Contacts: &Contacts{},
		Scores: map[string]float64{"leave": 0.5, "harm": 0.1}}
	if t.Now != "" {
		now, err := time.Parse(time.RFC3339, t.Now)
		if err != nil {
			return nil, fmt.Errorf("now: %w", err)
		}
		in.Now = now
	}
	in.AsOf = in.Now
	in.Facts = event.Facts{Jurisdiction: jurisdiction, BirthDate: "1986-01-01", TimeZone: "UTC"}
	raw, err := json.Marshal(t.Facts)
	if err != nil {
		return nil, fmt.Errorf("facts: %w", err)
	}
	if err := json.Unmarshal(raw, &in.Facts, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("facts: %w", err)
	}
	if _, given := t.Facts["consents"]; !given {
		in.Facts.Consents = map[string]bool{"all/all": true}
	}
	if t.Age != nil {
		in.Facts.BirthDate = in.Now.AddDate(-*t.Age, 0, -1).Format(time.DateOnly)
	}
	in.Features = make([]float64, len(p.lang.featureNames))
	for name, v := range t.Features {
		id, ok := p.lang.ids["features."+name]
		if !ok {
			return nil, fmt.Errorf("features: %s is not declared in features.yaml", name)
		}
		in.Features[id-p.lang.features] = v
	}
	for name, v := range t.Scores {
		if in.Scores[name] = v; v < 0 {
			delete(in.Scores, name) // a negative score stands for a missing one
		}
	}
	for range t.Contacts {
		in.Contacts.Sent = append(in.Contacts.Sent, Sent{At: in.Now.Add(-time.Hour), Kind: 'm', Bonus: true, Action: ActionCode("test")})
		in.Contacts.Bonuses++
	}
	return in, nil
}

func (t *TestAction) compile(d *RuleDecl) *action {
	decl := &ActionDecl{ID: "test", Content: t.Content, Channels: []string{cmp.Or(t.Channel, "in_app")}}
	decl.Kind = cmp.Or(decl.Kind, d.AppliesTo[0])
	decl.Product = cmp.Or(decl.Product, "casino")
	return newAction(decl)
}
