package decide

import (
	"fmt"
	"slices"
	"time"

	"pitboss/internal/event"
)

// sitting is one decision under way.
type sitting struct {
	p     *Policy
	scope *scope
	in    *Input
	rules []*rule // in effect now
	// fixed holds the outcome of rules that don't depend on the action: truth+1, 0: not asked.
	fixed    []truth
	verdicts []Verdict
	kill     map[string]bool
}

func (p *Policy) sit(in *Input) *sitting {
	s := &sitting{p: p, in: in, kill: make(map[string]bool, len(in.Killed))}
	for _, k := range in.Killed {
		s.kill[k] = true
	}
	s.scope = p.lang.newScope(in, s.liveScores())
	k := p.packOf(in.Facts.Jurisdiction)
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
func (s *sitting) liveScores() map[string]float64 {
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
func (s *sitting) candidates() ([]Candidate, []*action, [][]string) {
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
		}
		out, acts, reviews = append(out, c), append(acts, a), append(reviews, review)
	}
	return out, acts, reviews
}

// reach finds the channel to use.
func (s *sitting) reach(a *action) (channel string, blocked []event.Blocked, review []string) {
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
func (s *sitting) judge(a *action) (blocked []event.Blocked, review []string) {
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
func (s *sitting) outcome(i int, r *rule, a *action) string {
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

func (s *sitting) holds(i int, r *rule) truth {
	if r.when.perAction {
		return r.when.truth(s.scope)
	}
	if s.fixed[i] == 0 {
		s.fixed[i] = r.when.truth(s.scope) + 1
	}
	return s.fixed[i] - 1
}

// capped reports whether one more would be too many.
func (s *sitting) capped(c *Cap, a *action) bool {
	if c.Count == "bonus" {
		if a.decl.Bonus == nil {
			return false
		}
		if c.Per == 0 {
			return int(s.in.Contacts.Bonuses) >= c.Max
		}
	}
	n := 0
	for _, sent := range s.in.Contacts.Sent {
		counts := sent.Kind == 'm'
		switch c.Count {
		case "bonus":
			counts = sent.Bonus
		case "action":
			counts = sent.Action == a.code
		}
		if counts && s.in.Now.Sub(sent.At) < time.Duration(c.Per) {
			n++
		}
	}
	return n >= c.Max
}

func (v *Verdict) add(result, action string) {
	if v.Result == VerdictPass || v.Result == VerdictReview || result == VerdictDeny {
		v.Result = result
	}
	if !slices.Contains(v.Actions, action) {
		v.Actions = append(v.Actions, action)
	}
}

// policyBlocks is what actions.yaml and the kill switches say, whatever the channel.
func (s *sitting) policyBlocks(a *action) (out []event.Blocked) {
	block := func(rule, format string, args ...any) {
		out = append(out, event.Blocked{Action: a.decl.ID, Rule: rule, Text: fmt.Sprintf(format, args...)})
	}
	if s.kill[Switch("action", a.decl.ID)] {
		block(BlockKill, "The kill switch of %s is on.", a.decl.ID)
	}
	if a.kind != bitProtection {
		if s.kill[Switch("jurisdiction", s.in.Facts.Jurisdiction)] {
			block(BlockKill, "The kill switch of %s is on.", s.in.Facts.Jurisdiction)
		}
		if s.in.Now.Before(s.in.Contacts.Hold) && (a.kind == bitMarketing || a.play || a.deposit) {
			block(BlockHold, "An exclusion or a withdrawn consent has just come in.")
		}
		if late := s.in.Now.Sub(s.in.AsOf); s.p.file.MaxAge > 0 && late > time.Duration(s.p.file.MaxAge) {
			block(BlockStale, "What it answers happened %s ago.", late.Round(time.Second))
		}
	}
	s.capsOf(&a.contact.Contact, a, block, "this message", func(x *Sent) bool { return x.Action == a.code })
	if all, ok := s.p.file.Contact[a.decl.Kind]; ok {
		s.capsOf(&all, a, block, a.decl.Kind, func(x *Sent) bool { return x.Kind == a.decl.Kind[0] })
	}
	return out
}

func (s *sitting) capsOf(c *Contact, a *action, block func(string, string, ...any), of string, mine func(*Sent) bool) {
	if c.PerDay == 0 && c.PerWeek == 0 && c.Spacing == 0 {
		return
	}
	day, week, last := 0, 0, time.Duration(-1)
	for i := range s.in.Contacts.Sent {
		x := &s.in.Contacts.Sent[i]
		if !mine(x) {
			continue
		}
		age := s.in.Now.Sub(x.At)
		if age < 24*time.Hour {
			day++
		}
		if age < 7*24*time.Hour {
			week++
		}
		last = age
	}
	switch {
	case c.PerDay > 0 && day >= c.PerDay:
		block(BlockCap, "The player had %d of %d a day of %s.", day, c.PerDay, of)
	case c.PerWeek > 0 && week >= c.PerWeek:
		block(BlockCap, "The player had %d of %d a week of %s.", week, c.PerWeek, of)
	}
	if last >= 0 && last < time.Duration(c.Spacing) {
		block(BlockSpacing, "The last of %s was %s ago; the spacing is %s.", of, last.Round(time.Second), time.Duration(c.Spacing))
	}
}

// quiet is whether the player's quiet hours hold on a channel. Where the time
// zone is unknown, marketing on such a channel waits until it is known.
func (s *sitting) quiet(a *action, channel string) []event.Blocked {
	if a.kind == bitProtection {
		return nil
	}
	contacts := []contact{a.contact}
	if all, ok := s.p.quietOf[a.decl.Kind]; ok {
		contacts = append(contacts, all)
	}
	for _, c := range contacts {
		if c.quietFrom == c.quietTo || !slices.Contains(c.quietOn, channel) {
			continue
		}
		text := fmt.Sprintf("It is %s where the player is; %s is quiet %s.", s.scope.local.Format("15:04"), channel, c.Quiet)
		if !s.scope.zone {
			text = "The player's time zone is unknown, so quiet hours can't be kept on " + channel + "."
		} else if !within(s.scope.local.Hour()*60+s.scope.local.Minute(), c.quietFrom, c.quietTo) {
			continue
		}
		return []event.Blocked{{Action: a.decl.ID, Rule: BlockQuiet, Text: text}}
	}
	return nil
}

// within tells whether minute lies in [from, to), which may pass midnight.
func within(minute, from, to int) bool {
	if from < to {
		return minute >= from && minute < to
	}
	return minute >= from || minute < to
}
