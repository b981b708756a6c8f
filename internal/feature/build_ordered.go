package feature

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"pitboss/internal/event"
)

// input adds a stream of the timeline.
func (b *builder) input(s stream, want []kind) (int, error) {
	sources, float, err := b.compile(s, want)
	if err != nil {
		return 0, err
	}
	text := s.text()
	if n, ok := b.inputAt[text]; ok {
		return n, nil
	}
	n := len(b.set.inputs)
	in := &input{hash: hash32("input|" + text), text: text, unit: s.value == "", float: float}
	if n == maxInputs {
		return 0, b.fault(s.path, s.within, "more than %d different streams of values for ordered features and for sums of rounds; reuse where and value of another", maxInputs)
	}
	if other, taken := b.set.byInput[in.hash]; taken {
		return 0, b.fault(s.path, s.within, "its identity collides with that of %q; change the declaration slightly", b.set.inputs[other].text)
	}
	b.set.inputs = append(b.set.inputs, in)
	b.set.byInput[in.hash], b.inputAt[text] = n, n
	in.bool = !in.unit
	for _, src := range sources {
		if src.value >= 0 && src.plan.programs[src.value].code.kind != kindBool {
			in.bool = false
		}
		src.plan.inputs = append(src.plan.inputs, inputStep{n, src.where, src.value})
	}
	return n, nil
}

// orderedSlot adds a slot that is folded over the timeline.
func (b *builder) orderedSlot(d *Declaration, s stream) (n int, err error) {
	sl := slot{agg: ops[d.Agg], ordered: true, value: -1, of: -1, active: -1, limit: d.Limit, pause: d.Pause.Milliseconds()}
	sl.setHorizon(d.Horizon)
	if sl.value, err = b.input(s, valued[d.Agg]); err != nil {
		return 0, err
	}
	sl.float = b.set.inputs[sl.value].float
	sl.mask = 1 << sl.value
	sl.text = fmt.Sprintf("%s|%s|%s|%s|%d", d.Agg, d.Horizon, s.text(), d.Pause, d.Limit)
	if sl.agg == opDistinct && sl.limit == 0 {
		sl.limit = defaultDistinct
	}
	if d.Agg == Ratio {
		of := s
		of.value = d.Of
		if sl.of, err = b.input(of, valued[Ratio]); err != nil {
			return 0, err
		}
		sl.text += "|" + d.Of
	}
	if d.Agg == Follow {
		if err = b.follow(&sl, d, s); err != nil {
			return 0, err
		}
	}
	if d.Horizon.Session != nil {
		if err = b.session(&sl, d.Horizon.Session, s); err != nil {
			return 0, err
		}
	}
	if n, _, err = b.slot(sl); err != nil {
		return 0, b.fault(s.path, s.within, "%v", err)
	}
	return n, nil
}

// session adds the events that keep the session open, besides the feature's own.
func (b *builder) session(sl *slot, decl *Session, s stream) (err error) {
	activity := stream{infos: s.infos, path: s.path, within: s.within + ": session"}
	if len(decl.On) > 0 {
		more, err := b.types(s.path+".horizon", s.within+": session", decl.On)
		if err != nil {
			return err
		}
		activity.infos = union(s.infos, more)
	}
	if sl.active, err = b.input(activity, nil); err != nil {
		return err
	}
	sl.mask |= 1 << sl.active
	return nil
}

func union(a, b []*event.Info) []*event.Info {
	all := slices.Concat(a, b)
	slices.SortFunc(all, func(a, b *event.Info) int { return strings.Compare(a.Type, b.Type) })
	return slices.Compact(all)
}

func (b *builder) follow(sl *slot, d *Declaration, s stream) error {
	a := d.After
	path, within := s.path+".after", s.within+": after"
	infos, err := b.types(path+".on", within, a.On)
	if err != nil {
		return err
	}
	a.Times = cmp.Or(a.Times, 1)
	switch {
	case a.Times < 1 || a.Times > 1000:
		return b.fault(path+".times", within, "times must be between 1 and 1000, is %d", a.Times)
	case a.Within.Milliseconds() < 1000:
		return b.fault(path+".within", within, "within must be at least 1s: how soon the follower must come")
	}
	after := stream{infos, a.Where, a.Streak, path, within}
	if sl.of, err = b.input(after, []kind{kindBool}); err != nil {
		return err
	}
	sl.mask |= 1 << sl.of
	sl.streak, sl.within = int64(a.Times), a.Within.Milliseconds()
	sl.text += fmt.Sprintf("|%s|%d|%s", after.text(), a.Times, a.Within)
	return nil
}

// derived compiles the features that are computed from other features and refuses
// cycles.
func (b *builder) derived() error {
	s := b.set
	l, err := newLanguage(b.featureVariables(""))
	if err != nil {
		return err
	}
	for i, f := range s.features {
		if f.eval != readDerived {
			continue
		}
		if f.expr, err = l.compile(f.decl.Expr, kindInt, kindFloat, kindBool); err != nil {
			return b.fault(fmt.Sprintf("$.features[%d].expr", i), "feature "+f.decl.Name+": expr", "%v", err)
		}
	}
	const visiting, done = 1, 2
	state := make([]int, len(s.features))
	var visit func(i int, path []string) error
	visit = func(i int, path []string) error {
		f := s.features[i]
		path = append(path, f.decl.Name)
		switch state[i] {
		case done:
			return nil
		case visiting:
			return b.fault(fmt.Sprintf("$.features[%d].expr", i), "feature "+f.decl.Name, "is computed from itself: %s", strings.Join(path, " → "))
		}
		state[i] = visiting
		if f.expr != nil {
			for _, n := range f.expr.needs {
				if err := visit(n, path); err != nil {
					return err
				}
			}
		}
		state[i] = done
		return nil
	}
	for i := range s.features {
		if err := visit(i, nil); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) reminders() error {
	seen := map[string]bool{}
	for i, d := range b.decl.Reminders {
		path, within := fmt.Sprintf("$.reminders[%d]", i), "reminder "+d.Name
		if err := b.checkName(path, "reminder", d.Name, seen); err != nil {
			return err
		}
		if d.After.Milliseconds() < 1000 {
			return b.fault(path+".after", within, "after must be at least 1s: how long to wait")
		}
		if len(d.SetWhen) == 0 {
			return b.fault(path+".set_when", within, "set_when must say what sets the reminder, e.g. [{on: [game.failed]}]")
		}
		r := &reminder{decl: d, after: d.After.Milliseconds()}
		var err error
		if r.slot, err = b.register(fmt.Sprintf("reminder|%s|%s|%v|%v", d.Name, d.After, d.SetWhen, d.CancelWhen), path, within); err != nil {
			return err
		}
		b.set.remind = append(b.set.remind, r)
		for _, w := range d.SetWhen {
			if err := b.picks(w, path+".set_when", within, func(p *plan, where int) { p.set = append(p.set, reminderStep{i, where}) }); err != nil {
				return err
			}
		}
		for _, w := range d.CancelWhen {
			if err := b.picks(w, path+".cancel_when", within, func(p *plan, where int) { p.cancel = append(p.cancel, reminderStep{i, where}) }); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *builder) picks(w When, path, within string, add func(p *plan, where int)) error {
	infos, err := b.types(path, within, w.On)
	if err != nil {
		return err
	}
	for _, info := range infos {
		where, err := b.program(info, w.Where, nil, kindBool)
		if err != nil {
			return b.fault(path, within+": where", "%v", err)
		}
		add(b.plan(info), where)
	}
	return nil
}

func (b *builder) conditions() error {
	vars := b.featureVariables("")
	seen := map[string]bool{"always": true}
	for i, d := range b.decl.ScoreWhen {
		path, within := fmt.Sprintf("$.score_when[%d]", i), "score_when "+d.Name
		if err := b.checkName(path, "score_when", d.Name, seen); err != nil {
			return err
		}
		c := &condition{decl: d, spacing: d.Spacing.Milliseconds(), reminder: -1}
		if d.Markers != "" {
			b.set.conds, b.set.asks = append(b.set.conds, c), append(b.set.asks, d.Name)
			if err := b.watchMarkers(&d, path, within); err != nil {
				return err
			}
			continue
		}
		if d.Reminder != "" {
			if len(d.On) > 0 {
				return b.fault(path+".on", within, "a condition has either on or reminder")
			}
			d.On = []string{event.TypeReminderDue}
			for n, r := range b.set.remind {
				if r.decl.Name == d.Reminder {
					c.reminder = n
				}
			}
			if c.reminder < 0 {
				return b.fault(path+".reminder", within, "there is no reminder %q", d.Reminder)
			}
		}
		infos, err := b.types(path+".on", within, d.On)
		if err != nil {
			return err
		}
		if c.slot, err = b.register("due|"+d.Name, path, within); err != nil {
			return err
		}
		b.set.conds, b.set.asks = append(b.set.conds, c), append(b.set.asks, d.Name)
		for _, info := range infos {
			when, err := b.program(info, d.When, vars, kindBool)
			if err != nil {
				return b.fault(path+".when", within+": when", "%v", err)
			}
			p := b.plan(info)
			p.conds = append(p.conds, condStep{i, when})
		}
	}
	return nil
}
