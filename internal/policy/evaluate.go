package policy

import (
	"slices"
	"time"

	"pitboss/internal/event"
)

// evaluation is one decision under way.
type evaluation struct {
	p     *Policy
	scope *scope
	in    *Input
	rules []*rule // in effect now
	// fixed holds the outcome of rules that don't depend on the action: truth+1, 0: not asked.
	fixed    []truth
	verdicts []Verdict
	kill     map[string]bool
	pack     *pack
	markers  []Marker // that hold
}

func (p *Policy) evaluate(in *Input) *evaluation {
	in = in.bound()
	s := &evaluation{p: p, in: in, kill: make(map[string]bool, len(in.Killed))}
	for _, k := range in.Killed {
		s.kill[k] = true
	}
	s.scope = p.lang.newScope(in, s.liveScores())
	k := p.packOf(in.Facts.Jurisdiction)
	s.pack = k
	s.lookForHarm()
	s.rules = make([]*rule, 0, len(k.rules))
	for _, r := range k.rules {
		if r.decl.Effective.at(in.Now) {
			s.rules = append(s.rules, r)
		}
	}
	s.fixed = make([]truth, len(s.rules))
	s.verdicts = make([]Verdict, len(s.rules))
	for i, r := range s.rules {
		s.verdicts[i] = Verdict{Rule: r.decl.ID, Version: r.decl.Version, Result: VerdictIdle}
	}
	return s
}

// liveScores are the scores of models that no kill switch names.
func (s *evaluation) liveScores() map[string]float64 {
	dead := map[string]bool{}
	for _, m := range s.in.Models {
		if !m.Shadow && s.kill[Switch("model", m.Name)] {
			dead[m.Output] = true
		}
	}
	if len(dead) == 0 {
		return s.in.Scores
	}
	live := make(map[string]float64, len(s.in.Scores))
	for name, v := range s.in.Scores {
		if !dead[name] {
			live[name] = v
		}
	}
	return live
}

// candidates are the eligible actions, each on the first of its channels that
// nothing blocks; where all are blocked, with what blocks the first.
func (s *evaluation) candidates() ([]Candidate, []*action, [][]string) {
	var out []Candidate
	var acts []*action
	var reviews [][]string
	for _, a := range s.p.actions {
		s.scope.act, s.scope.channel = a, a.decl.Channels[0]
		eligible := a.eligible.truth(s.scope)
		if eligible == no {
			continue
		}
		value, known := a.value.number(s.scope)
		c := Candidate{Action: a.decl.ID, Kind: a.decl.Kind, Channel: a.decl.Channels[0], Value: value}
		var review []string
		if eligible == doubt || !known {
			if a.kind == bitProtection {
				continue // not eligible for all we know
			}
			c.Blocked = []event.Blocked{{Action: a.decl.ID, Rule: BlockClosed, Text: "a score or fact it is chosen by is missing"}}
		} else {
			c.Channel, c.Blocked, review = s.reach(a)
			if name := s.unfilled(a); name != "" {
				c.Blocked = append(c.Blocked, event.Blocked{Action: a.decl.ID, Rule: BlockMessage, Text: "what the message calls {" + name + "} is not known"})
			}
		}
		out, acts, reviews = append(out, c), append(acts, a), append(reviews, review)
	}
	return out, acts, reviews
}

// unfilled names a parameter of the message that would be empty; "" if none is.
func (s *evaluation) unfilled(a *action) string {
	for _, p := range a.params {
		if v := p.expr.plain(s.scope); v == nil || v == "" {
			return p.name
		}
	}
	return ""
}

// reach finds the channel to use.
func (s *evaluation) reach(a *action) (channel string, blocked []event.Blocked, review []string) {
	general := s.policyBlocks(a)
	for i, ch := range a.decl.Channels {
		s.scope.channel = ch
		rules, rev := s.judge(a)
		all := append(append(slices.Clone(general), s.quiet(a, ch)...), rules...)
		if len(all) == 0 {
			return ch, nil, rev
		}
		if i == 0 {
			channel, blocked = ch, all
		}
	}
	return channel, blocked, nil
}

// judge asks every rule in effect about the action on the scope's channel.
func (s *evaluation) judge(a *action) (blocked []event.Blocked, review []string) {
	for i, r := range s.rules {
		if r.kinds&a.kind == 0 {
			continue
		}
		v := &s.verdicts[i]
		if v.Result == VerdictIdle {
			v.Result = VerdictPass
		}
		if s.kill[Switch("rule", r.decl.ID)] && a.kind != bitProtection {
			blocked = append(blocked, event.Blocked{Action: a.decl.ID, Rule: r.decl.ID, Text: "the rule's kill switch is on: what it governs is stopped"})
			v.add(VerdictDeny, a.decl.ID)
			continue
		}
		switch s.outcome(i, r, a) {
		case VerdictDeny:
			v.add(VerdictDeny, a.decl.ID)
			blocked = append(blocked, event.Blocked{Action: a.decl.ID, Rule: r.decl.ID, Text: r.decl.Text})
		case VerdictDoubt:
			v.add(VerdictDoubt, a.decl.ID)
			blocked = append(blocked, event.Blocked{Action: a.decl.ID, Rule: r.decl.ID, Text: "It can't be told whether this holds, so it is taken to: " + r.decl.Text})
		case VerdictReview:
			v.add(VerdictReview, a.decl.ID)
			review = append(review, r.decl.ID)
		}
	}
	return blocked, review
}

// outcome is what one rule says of one action.
func (s *evaluation) outcome(i int, r *rule, a *action) string {
	t := s.holds(i, r)
	switch r.decl.Effect {
	case "allow-only":
		switch t {
		case yes:
			return VerdictPass
		case no:
			return VerdictDeny
		}
	case "require-review":
		if t == no {
			return VerdictPass
		}
		return VerdictReview // in doubt, a person looks
	case "cap":
		switch {
		case t == no:
			return VerdictPass
		case t == yes && !s.capped(r.decl.Cap, a):
			return VerdictPass
		case t == yes:
			return VerdictDeny
		}
	default:
		switch t {
		case yes:
			return VerdictDeny
		case no:
			return VerdictPass
		}
	}
	return VerdictDoubt
}

func (s *evaluation) holds(i int, r *rule) truth {
	if r.when.perAction {
		return r.when.truth(s.scope)
	}
	if s.fixed[i] == 0 {
		s.fixed[i] = r.when.truth(s.scope) + 1
	}
	return s.fixed[i] - 1
}

// capped reports whether one more would be too many.
func (s *evaluation) capped(c *Cap, a *action) bool {
	if c.Count == "bonus" {
		if a.decl.Bonus == nil {
			return false
		}
		if c.Per == 0 {
			return int(s.in.Contacts.Bonuses) >= c.Max
		}
	}
	return s.in.Contacts.sentWithin(time.Duration(c.Per), s.in.Now, func(x *Sent) bool {
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
