package policy

import (
	"encoding/binary"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"pitboss/internal/event"
)

// HoldoutArm is the arm of players who get protection messages only. The uplift of
// the other messages is measured against them.
const HoldoutArm = "holdout"

// Decide picks what to do. It never fails: a value that is missing or can't be
// evaluated stops the actions that depend on it.
func (p *Policy) Decide(in *Input) *Decision {
	e := p.evaluate(in)
	d := e.decide()
	d.Reasons = append(d.Reasons, e.unrated()...)
	d.Reasons = append(d.Reasons, in.Linked.reasons(in.Now)...)
	return d
}

// The reason code of a missing score begins with one of these. TooNew is normal: the
// player's history is too short for the model. NotRated points at a fault.
const (
	NotRated = "not-rated:"
	TooNew   = "too-new:"
)

// unrated gives a reason for each score that the decision was made without.
func (e *evaluation) unrated() (out []event.Reason) {
	for _, name := range Scores {
		if _, ok := e.scope.scores[name]; !ok {
			why, code := e.missingScore(name)
			out = append(out, event.Reason{Code: code + name,
				Text: "There is no " + name + " score: " + why + ". Marketing that needs it stops, protection goes on."})
		}
	}
	return out
}

// missingScore says why no model gave a score. The text has none of the player's
// numbers: reasons outlive an erasure, and the model runs that hold the numbers
// don't. TooNew wins if any model only waits for a longer history.
func (e *evaluation) missingScore(output string) (why, code string) {
	var outside, waiting []string
	for _, m := range e.in.Models {
		switch {
		case m.Output != output || m.Outside == "" || m.Shadow || e.killed("model", m.Name):
		case m.TooNew:
			waiting = append(waiting, m.Name)
		default:
			outside = append(outside, m.Name+" was not trained on such players")
		}
	}
	switch {
	case len(waiting) > 0:
		return "the player is too new for " + strings.Join(waiting, ", "), TooNew
	case len(outside) > 0:
		return strings.Join(outside, ", "), NotRated
	}
	return "its model said nothing or is switched off", NotRated
}

func (e *evaluation) decide() *Decision {
	p, in := e.p, e.in
	candidates, acts, reviews := e.candidates()
	arm, holdout := p.armOf(in.Player)
	d := &Decision{Action: NoAction, Arm: arm.Name, Holdout: holdout, Candidates: candidates,
		Markers: e.markers, Rules: e.verdicts, Pack: p.packOf(in.Facts.Jurisdiction).decl.Pack, Policy: p.hash}

	if n := best(candidates, func(c *Candidate) bool { return c.Kind == Protection }); n >= 0 {
		d.Candidates[n].Propensity = 1
		e.issue(d, n, acts[n], reviews[n])
		d.Reasons = append(d.Reasons, event.Reason{Code: "protection-first", Text: "A protection message goes before anything else."})
		return d
	}
	e.shadow(d)
	n, learned := e.chooseLearned(d, arm)
	if !learned {
		n = e.choose(d.Candidates, arm)
	}
	switch {
	case n >= 0 && holdout:
		d.Action, d.Kind = candidates[n].Action, candidates[n].Kind
		d.Propensity = candidates[n].Propensity
		d.Reasons = []event.Reason{{Code: HoldoutArm, Text: "The player is in the holdout, who get protection messages only, so that the effect of the others can be measured."}}
	case n >= 0:
		e.issue(d, n, acts[n], reviews[n])
	default:
		e.suppress(d)
	}
	return d
}

// best returns the index of the unblocked candidate with the highest value among
// those that want accepts, or -1. The first of equals wins.
func best(cs []Candidate, want func(*Candidate) bool) int {
	n := -1
	for i := range cs {
		if len(cs[i].Blocked) == 0 && want(&cs[i]) && (n < 0 || cs[i].Value > cs[n].Value) {
			n = i
		}
	}
	return n
}

// choose draws one of the open candidates by the arm's softmax and sets their
// propensities. It returns -1 if none is open.
func (e *evaluation) choose(cs []Candidate, arm Arm) int {
	draw := unit("draw", e.p.file.Experiment.Salt, e.in.Player, e.in.Decision)
	chosen := -1
	for i, propensity := range softmax(cs, arm.Temperature) {
		if propensity == 0 {
			continue
		}
		cs[i].Propensity = propensity
		if draw >= 0 {
			chosen = i
			draw -= propensity
		}
	}
	return chosen
}

// armOf assigns players to arms by hash: a player is always in the same arm.
func (p *Policy) armOf(player string) (arm Arm, holdout bool) {
	e := &p.file.Experiment
	if unit("holdout", e.Salt, player, "") < e.Holdout {
		return Arm{Name: HoldoutArm}, true
	}
	u := unit("arm", e.Salt, player, "")
	for _, a := range e.Arms {
		if u -= a.Share; u < 0 {
			return a, false
		}
	}
	return e.Arms[len(e.Arms)-1], false
}

// unit hashes its arguments to [0, 1).
func unit(what, salt, player, decision string) float64 {
	var buf [256]byte
	b := buf[:0]
	for _, s := range [...]string{what, salt, player, decision} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return float64(xxhash.Sum64(b)>>11) / (1 << 53)
}

// issue fills in the chosen action.
func (e *evaluation) issue(d *Decision, n int, a *action, review []string) {
	c := &d.Candidates[n]
	e.scope.act, e.scope.channel = a, c.Channel
	d.Issued, d.Action, d.Kind, d.Channel, d.Propensity = true, c.Action, c.Kind, c.Channel, c.Propensity
	d.Severity, d.Review = a.decl.Severity, review
	d.Expires = e.in.Now.Add(time.Duration(a.decl.Expiry))
	d.Message = a.decl.Message
	for _, p := range a.params {
		v := p.expr.plain(e.scope)
		if v == nil {
			continue
		}
		if d.Params == nil {
			d.Params = map[string]any{}
		}
		d.Params[p.name] = v
	}
	if a.decl.Doc != "" {
		d.Reasons = append(d.Reasons, event.Reason{Code: a.decl.ID, Text: a.decl.Doc})
	}
	for _, rule := range review {
		if r, ok := e.p.Rule(rule); ok {
			d.Reasons = append(d.Reasons, event.Reason{Code: "review:" + rule, Text: "A person will look at this case: " + r.Rule.Text})
		}
	}
}

// suppress names the best blocked candidate and gives the reasons why nothing is sent.
func (e *evaluation) suppress(d *Decision) {
	n := -1
	for i := range d.Candidates {
		if len(d.Candidates[i].Blocked) > 0 && (n < 0 || d.Candidates[i].Value > d.Candidates[n].Value) {
			n = i
		}
	}
	if n < 0 {
		d.Reasons = []event.Reason{{Code: "nothing-eligible", Text: "No action is worth taking in the player's situation."}}
		return
	}
	d.Action, d.Kind = d.Candidates[n].Action, d.Candidates[n].Kind
	for _, b := range d.Candidates[n].Blocked {
		d.Reasons = append(d.Reasons, event.Reason{Code: b.Rule, Text: strings.TrimSpace(b.Text)})
	}
}
