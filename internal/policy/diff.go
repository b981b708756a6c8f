package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Change is a difference between two policies.
type Change struct {
	What string // "rule GB-DM", "marker MK-BINGE", "pack GB", "action free_spins"
	How  string
	// SameVersion says that a rule or marker changed and its version did not.
	SameVersion bool
}

// Unversioned lists the rules and markers that changed without a new version. Stored
// decisions refer to a rule by id and version, so these must identify one text.
func Unversioned(changes []Change) (out []string) {
	for _, c := range changes {
		if c.SameVersion {
			out = append(out, c.What)
		}
	}
	return out
}

// Diff lists the changes from a to b: packs, rules, markers and actions.
func Diff(a, b *Policy) []Change {
	out := diff("pack", a.allPacks(), b.allPacks(), false)
	out = append(out, diff("rule", a.allRules(), b.allRules(), true)...)
	out = append(out, diff("marker", a.allMarkers(), b.allMarkers(), true)...)
	return append(out, diff("action", a.allActions(), b.allActions(), false)...)
}

// diff compares declarations by id. If they are versioned, a change needs a new version.
func diff(what string, old, now map[string][][2]string, versioned bool) (out []Change) {
	for _, id := range sortedSet(slices.AppendSeq(slices.Collect(maps.Keys(old)), maps.Keys(now))) {
		x, y := old[id], now[id]
		c := Change{What: what + " " + id}
		switch {
		case x == nil:
			c.How = "added: " + y[0][1]
		case y == nil:
			c.How = "removed: " + x[0][1]
		default:
			c.How = fieldDiff(x, y)
			c.SameVersion = versioned && c.How != "" && x[1] == y[1]
			if c.SameVersion {
				c.How += "; its version is still " + x[1][1] + ": raise it"
			}
		}
		if c.How != "" {
			out = append(out, c)
		}
	}
	return out
}

func (p *Policy) allPacks() map[string][][2]string {
	out := map[string][][2]string{}
	for name, k := range p.packs {
		d := k.decl
		out[name] = [][2]string{{"title", d.Title}, {"include", strings.Join(d.Include, " ")}, {"min_age", fmt.Sprint(d.MinAge)},
			{"products", strings.Join(d.Products, " ")}, {"advertising", d.Advertising}, {"bonuses", d.Bonuses}, {"licence", d.Licence}, {"retention", fmt.Sprintf("%+v", orZero(d.Retention))}}
	}
	return out
}

func (p *Policy) allRules() map[string][][2]string {
	out := map[string][][2]string{}
	for _, k := range p.packs {
		for i := range k.decl.Rules {
			out[k.decl.Rules[i].ID] = k.decl.Rules[i].fields()
		}
	}
	return out
}

func (p *Policy) allMarkers() map[string][][2]string {
	out := map[string][][2]string{}
	for _, m := range p.signs.Markers {
		out[m.ID] = [][2]string{{"text", m.Text}, {"version", fmt.Sprint(m.Version)}, {"doc", m.Doc}, {"group", m.Group}, {"strength", m.Strength},
			{"window", m.Window}, {"source", m.Source.String()}, {"jurisdictions", strings.Join(m.Jurisdictions, " ")},
			{"reads", fmt.Sprintf("%+v", m.Reads)}, {"unless", m.Unless}, {"holds", time.Duration(m.Holds).String()}}
	}
	return out
}

func (p *Policy) allActions() map[string][][2]string {
	out := map[string][][2]string{}
	for i := range p.file.Actions {
		d := p.file.Actions[i]
		bonus, goal := d.Bonus, d.Goal
		d.Bonus, d.Goal = nil, nil // %+v would print them as addresses
		out[d.ID] = [][2]string{{"doc", d.Doc}, {"message", d.Message}, {"eligible", d.Eligible}, {"value", d.Value},
			{"bonus", fmt.Sprintf("%+v", bonus)}, {"goal", fmt.Sprintf("%+v", goal)}, {"rest", fmt.Sprintf("%+v", d)}}
	}
	return out
}

// fields returns the parts of a rule that Diff compares.
func (d *RuleDecl) fields() [][2]string {
	return [][2]string{
		{"text", d.Text}, {"version", fmt.Sprint(d.Version)}, {"source", d.Source.String()},
		{"effective", d.Effective.From.Format(time.DateOnly) + " to " + d.Effective.Until.Format(time.DateOnly)},
		{"effect", d.Effect}, {"severity", d.Severity}, {"reviewed", fmt.Sprint(d.Reviewed)},
		{"applies_to", strings.Join(slices.Sorted(slices.Values(d.AppliesTo)), " ")}, {"when", d.When},
		{"cap", fmt.Sprintf("%+v", orZero(d.Cap))},
	}
}

// orZero returns what p points to, or a zero value if p is nil.
func orZero[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

func fieldDiff(a, b [][2]string) string {
	var out []string
	for i := range a {
		if a[i][1] != b[i][1] {
			out = append(out, fmt.Sprintf("%s: %q → %q", a[i][0], a[i][1], b[i][1]))
		}
	}
	return strings.Join(out, "; ")
}
