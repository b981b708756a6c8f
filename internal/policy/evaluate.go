package policy

import (
	"slices"
	"time"

	"pitboss/internal/event"
)

// evaluation is the state of making one decision.
type evaluation struct {
	p     *Policy
	scope *scope
	in    *Input
	rules []*rule // in effect now
	// fixed caches the truth of rules that don't depend on the action, plus 1; 0: not evaluated.
	fixed    []truth
	verdicts []Verdict
	kill     map[string]bool // nil: no kill switch is on
	pack     *pack
	markers  []Marker // that hold
}

func (p *Policy) evaluate(in *Input) *evaluation {
	in = in.bound()
	e := &evaluation{p: p, in: in, kill: in.kill()}
	e.scope = p.lang.newScope(in, e.liveScores())
	k := p.packOf(in.Facts.Jurisdiction)
	e.pack = k
	e.lookForHarm()
	e.rules = make([]*rule, 0, len(k.rules))
	for _, r := range k.rules {
		if r.decl.Effective.at(in.Now) {
			e.rules = append(e.rules, r)
		}
	}
	e.fixed = make([]truth, len(e.rules))
	e.verdicts = make([]Verdict, len(e.rules))
	for i, r := range e.rules {
		e.verdicts[i] = Verdict{Rule: r.decl.ID, Version: r.decl.Version, Result: VerdictIdle}
	}
	return e
}

// kill returns the kill switches that are on, or nil if none is.
func (in *Input) kill() map[string]bool {
	if len(in.Killed) == 0 {
		return nil
	}
	kill := make(map[string]bool, len(in.Killed))
	for _, k := range in.Killed {
		kill[k] = true
	}
	return kill
}

// killed reports whether a kill switch is on. It is called for every rule and action,
// and usually none is on: then it builds no name.
func (e *evaluation) killed(what, name string) bool {
	return e.kill != nil && e.kill[Switch(what, name)]
}

// liveScores returns the scores of models whose kill switch is not on.
func (e *evaluation) liveScores() map[string]float64 {
	if e.kill == nil {
		return e.in.Scores
	}
	dead := map[string]bool{}
	for _, m := range e.in.Models {
		if !m.Shadow && e.killed("model", m.Name) {
			dead[m.Output] = true
		}
	}
	if len(dead) == 0 {
		return e.in.Scores
	}
	live := make(map[string]float64, len(e.in.Scores))
	for name, v := range e.in.Scores {
		if !dead[name] {
			live[name] = v
		}
	}
	return live
}

// candidates returns the eligible actions, each on its first channel that is not
// blocked. If all its channels are blocked, it has the blocks of the first.
func (e *evaluation) candidates() ([]Candidate, []*action, [][]string) {
	var out []Candidate
	var acts []*action
	var reviews [][]string
	for _, a := range e.p.actions {
		e.scope.act, e.scope.channel = a, a.decl.Channels[0]
		eligible := a.eligible.truth(e.scope)
		if eligible == no {
			continue
		}
		value, known := a.value.number(e.scope)
		c := Candidate{Action: a.decl.ID, Kind: a.decl.Kind, Channel: a.decl.Channels[0], Value: value}
		var review []string
		if eligible == doubt || !known {
			if a.kind == bitProtection {
				continue // its condition is in doubt: it does not count as eligible
			}
			c.Blocked = []event.Blocked{{Action: a.decl.ID, Rule: BlockClosed, Text: "a score or fact it is chosen by is missing"}}
		} else {
			c.Channel, c.Blocked, review = e.reach(a)
			if name := e.unfilled(a); name != "" {
				c.Blocked = append(c.Blocked, event.Blocked{Action: a.decl.ID, Rule: BlockMessage, Text: "what the message calls {" + name + "} is not known"})
			}
		}
		out, acts, reviews = append(out, c), append(acts, a), append(reviews, review)
	}
	return out, acts, reviews
}

// unfilled returns the name of a message parameter without a value, or "".
func (e *evaluation) unfilled(a *action) string {
	for _, p := range a.params {
		if v := p.expr.plain(e.scope); v == nil || v == "" {
			return p.name
		}
	}
	return ""
}

// reach returns the first channel that is not blocked, with the rules that ask for a
// review; or the first channel and what blocks it.
func (e *evaluation) reach(a *action) (channel string, blocked []event.Blocked, review []string) {
	general := e.policyBlocks(a)
	for i, ch := range a.decl.Channels {
		e.scope.channel = ch
		rules, rev := e.judge(a)
		all := append(append(slices.Clone(general), e.quiet(a, ch)...), rules...)
		if len(all) == 0 {
			return ch, nil, rev
		}
		if i == 0 {
			channel, blocked = ch, all
		}
	}
	return channel, blocked, nil
}

// judge applies every rule in effect to the action on the scope's channel.
func (e *evaluation) judge(a *action) (blocked []event.Blocked, review []string) {
	for i, r := range e.rules {
		if r.kinds&a.kind == 0 {
			continue
		}
		v := &e.verdicts[i]
		if v.Result == VerdictIdle {
			v.Result = VerdictPass
		}
		if e.killed("rule", r.decl.ID) && a.kind != bitProtection {
			blocked = append(blocked, event.Blocked{Action: a.decl.ID, Rule: r.decl.ID, Text: "the rule's kill switch is on: what it governs is stopped"})
			v.add(VerdictDeny, a.decl.ID)
			continue
		}
		result := e.outcome(i, r, a)
		switch result {
		case VerdictPass:
			continue
		case VerdictReview:
			review = append(review, r.decl.ID)
		case VerdictDeny:
			blocked = append(blocked, event.Blocked{Action: a.decl.ID, Rule: r.decl.ID, Text: r.decl.Text})
		case VerdictDoubt:
			blocked = append(blocked, event.Blocked{Action: a.decl.ID, Rule: r.decl.ID, Text: "It can't be told whether this holds, so it is taken to: " + r.decl.Text})
		}
		v.add(result, a.decl.ID)
	}
	return blocked, review
}

// outcome returns the result of one rule for one action.
func (e *evaluation) outcome(i int, r *rule, a *action) string {
	t := e.holds(i, r)
	deny := t == yes
	switch r.decl.Effect {
	case "require-review":
		if t == no {
			return VerdictPass
		}
		return VerdictReview // in doubt, a person looks
	case "allow-only":
		deny = t == no
	case "cap":
		deny = deny && e.capped(r.decl.Cap, a)
	}
	switch {
	case t == doubt:
		return VerdictDoubt
	case deny:
		return VerdictDeny
	}
	return VerdictPass
}

func (e *evaluation) holds(i int, r *rule) truth {
	if r.when.perAction {
		return r.when.truth(e.scope)
	}
	if e.fixed[i] == 0 {
		e.fixed[i] = r.when.truth(e.scope) + 1
	}
	return e.fixed[i] - 1
}

// capped reports whether one more message would exceed the cap.
func (e *evaluation) capped(c *Cap, a *action) bool {
	if c.Count == "bonus" {
		if a.decl.Bonus == nil {
			return false
		}
		if c.Per == 0 {
			return int(e.in.Contacts.Bonuses) >= c.Max
		}
	}
	return e.in.Contacts.sentWithin(time.Duration(c.Per), e.in.Now, func(x *Sent) bool {
		switch c.Count {
		case "bonus":
			return x.Bonus
		case "protection":
			return x.Kind == 'p'
		case "action":
			return x.Action == a.code
		}
		return x.Kind == 'm'
	}) >= c.Max
}

func (v *Verdict) add(result, action string) {
	if v.Result == VerdictPass || v.Result == VerdictReview || result == VerdictDeny {
		v.Result = result
	}
	if !slices.Contains(v.Actions, action) {
		v.Actions = append(v.Actions, action)
	}
}
