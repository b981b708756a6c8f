package policy

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"
)

const unknownPlace = "jurisdiction unknown"

// Explain writes a full explanation of a decision. p is the policy that made it, or
// nil if that is not available.
func (r *Record) Explain(w io.Writer, p *Policy) {
	d, in := &r.Decision, &r.Input
	what := "Nothing was sent."
	if d.Issued {
		what = fmt.Sprintf("%s (%s) was issued for %s, until %s.", d.Action, d.Kind, d.Channel, d.Expires.Format(time.RFC3339))
	} else if d.Action != NoAction {
		what = fmt.Sprintf("%s (%s) was not sent.", d.Action, d.Kind)
	}
	fmt.Fprintf(w, "Decision %s, %s\n\n%s\n", in.Decision, in.Now.Format(time.RFC3339Nano), what)
	for _, reason := range d.Reasons {
		fmt.Fprintf(w, "  because [%s] %s\n", reason.Code, reason.Text)
	}
	r.explainInputs(w)
	r.explainMarkers(w, p)
	r.explainCandidates(w)
	r.explainRules(w, p)
	fmt.Fprintf(w, "\nArm %s, propensity %v, policy %s.\n%s\n", d.Arm, d.Propensity, d.Policy, Disclaimer)
}

func (r *Record) explainInputs(w io.Writer) {
	in := &r.Input
	fmt.Fprintln(w, "\nWhat it rested on")
	if in.Player == "" {
		fmt.Fprintln(w, "  The player was erased: what is personal can't be read any more.")
	} else {
		fmt.Fprintf(w, "  player %s, %s\n", in.Player, cmp.Or(in.Facts.Jurisdiction, unknownPlace))
		fmt.Fprintf(w, "  trigger %s, id %s of %s, %s\n", in.Trigger.Type, in.Trigger.ID, in.Trigger.Source, in.Trigger.Time.Format(time.RFC3339Nano))
	}
	fmt.Fprintf(w, "  state version %s, features %s\n", in.StateVersion, in.FeatureSet)
	if in.Refreshed {
		fmt.Fprintln(w, "  the state had changed since the scores were made: facts and features are the newer ones")
	}
	for _, m := range in.Models {
		shadow := ""
		if m.Shadow {
			shadow = ", shadow: not decided on"
		}
		if m.Outside != "" {
			fmt.Fprintf(w, "  model %s %s (sha256 %s): %s is not known: %s%s\n", m.Name, m.Version, m.SHA256, m.Output, m.Outside, shadow)
			continue
		}
		if c := m.Calibrated; c != nil {
			shadow = fmt.Sprintf(", calibrated by what came of such scores: the model itself gave %v (slope %v, offset %v)", c.Raw, c.Slope, c.Offset)
		}
		fmt.Fprintf(w, "  model %s %s (sha256 %s): %s = %v%s\n", m.Name, m.Version, m.SHA256, m.Output, m.Score, shadow)
		for _, c := range m.Contributions {
			fmt.Fprintf(w, "      %s = %v moved it by %+.4f\n", c.Feature, c.Value, c.Effect)
		}
	}
	if len(in.Killed) > 0 {
		fmt.Fprintf(w, "  kill switches on: %s\n", strings.Join(in.Killed, ", "))
	}
	if in.Contacts != nil {
		fmt.Fprintf(w, "  %d recommendations in the last 31 days, %d bonuses ever\n", len(in.Contacts.Sent), in.Contacts.Bonuses)
	}
	if in.Linked != nil {
		fmt.Fprintf(w, "  %d linked accounts of the same person, with %d marketing and protection messages in the last 31 days\n", in.Linked.Accounts, len(in.Linked.Contacts.Sent))
		for _, why := range in.Linked.binding(in.Now) {
			fmt.Fprintf(w, "      one of them %s\n", why)
		}
	}
}

func (r *Record) explainMarkers(w io.Writer, p *Policy) {
	if len(r.Decision.Markers) == 0 {
		return
	}
	fmt.Fprintln(w, "\nSigns of harm that Pitboss saw")
	for _, m := range r.Decision.Markers {
		text := cmp.Or(m.Text, "(the player was erased, and the numbers with them)")
		fmt.Fprintf(w, "  %s v%d, %s, %s: %s\n", m.ID, m.Version, m.Strength, m.Group, text)
		if d, ok := p.marker(m.ID); ok {
			fmt.Fprintf(w, "      Looks at %s. Source: %s.%s\n", d.Window, d.Source, unreviewed(d.Reviewed))
		}
	}
}

func (p *Policy) marker(id string) (*MarkerDecl, bool) {
	if p == nil {
		return nil, false
	}
	for i := range p.signs.Markers {
		if p.signs.Markers[i].ID == id {
			return &p.signs.Markers[i], true
		}
	}
	return nil, false
}

func unreviewed(reviewed bool) string {
	if reviewed {
		return ""
	}
	return " NOT REVIEWED against its source."
}

func (r *Record) explainCandidates(w io.Writer) {
	fmt.Fprintln(w, "\nWhat could have been done")
	if len(r.Decision.Candidates) == 0 {
		fmt.Fprintln(w, "  nothing was eligible")
	}
	for _, c := range r.Decision.Candidates {
		fmt.Fprintf(w, "  %-28s %-10s value %8.2f  propensity %.4f\n", c.Action, c.Kind, c.Value, c.Propensity)
		for _, b := range c.Blocked {
			fmt.Fprintf(w, "      stopped by %s: %s\n", b.Rule, b.Text)
		}
	}
}

func (r *Record) explainRules(w io.Writer, p *Policy) {
	fmt.Fprintf(w, "\nWhat the rules of %s said\n", r.Decision.Pack)
	var idle []string
	for _, v := range r.Decision.Rules {
		if v.Result == VerdictIdle {
			idle = append(idle, v.Rule)
			continue
		}
		fmt.Fprintf(w, "  %-11s v%d %-6s", v.Rule, v.Version, v.Result)
		if len(v.Actions) > 0 {
			fmt.Fprintf(w, " %s", strings.Join(v.Actions, ", "))
		}
		fmt.Fprintln(w)
		if p == nil || v.Result == VerdictPass {
			continue
		}
		if a, ok := p.Rule(v.Rule); ok {
			fmt.Fprintf(w, "      %s\n", a.Rule.Words())
		}
	}
	if len(idle) > 0 {
		fmt.Fprintf(w, "  not asked, since nothing that they govern was eligible: %s\n", strings.Join(idle, ", "))
	}
}

// Words describes a rule: its text, its source, when it is in force, and whether it was
// reviewed.
func (d *RuleDecl) Words() string {
	s := fmt.Sprintf("%s Source: %s. In force from %s", d.Text, d.Source, d.Effective.From.Format(time.DateOnly))
	if !d.Effective.Until.IsZero() {
		s += " until before " + d.Effective.Until.Format(time.DateOnly)
	}
	return s + "." + unreviewed(d.Reviewed)
}
