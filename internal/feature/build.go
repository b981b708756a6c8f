package feature

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"pitboss/internal/event"
)

// horizons lists the horizons that each aggregation supports. true means that it is
// kept as commutative sums, false that it is folded over the timeline.
var horizons = map[Agg]map[string]bool{
	Count:    {"lifetime": true, "decay": true, "window": true, "month": true, "session": false},
	Sum:      {"lifetime": true, "decay": true, "window": true, "month": true, "session": false},
	Mean:     {"lifetime": true, "decay": true, "window": true, "session": false},
	Ratio:    {"lifetime": true, "decay": true, "window": true, "session": false},
	Max:      {"lifetime": false, "window": false, "session": false},
	Min:      {"lifetime": false, "window": false, "session": false},
	Last:     {"lifetime": false, "window": false, "session": false},
	Since:    {"lifetime": false},
	Streak:   {"lifetime": false, "session": false},
	Changes:  {"lifetime": false, "session": false},
	Distinct: {"lifetime": false, "window": false, "session": false},
	Gap:      {"lifetime": false, "decay": false, "session": false},
	Length:   {"session": false},
	Follow:   {"lifetime": false, "decay": false},
}

// valued lists the kinds that an aggregation's value may have. An aggregation that is
// not listed takes no value.
var valued = map[Agg][]kind{
	Sum: {kindInt, kindFloat, kindBool}, Mean: {kindInt, kindFloat, kindBool}, Ratio: {kindInt, kindFloat, kindBool},
	Max: {kindInt, kindFloat}, Min: {kindInt, kindFloat}, Last: {kindInt, kindFloat, kindBool, kindTime},
	Streak: {kindBool}, Changes: {kindInt, kindString, kindBool}, Distinct: {kindInt, kindString, kindBool},
}

// name returns the horizon's kind, which is the first word of its text.
func (h Horizon) name() string {
	name, _, _ := strings.Cut(h.String(), " ")
	return name
}

// String writes the horizon in the form that is part of a slot's identity.
func (h Horizon) String() string {
	switch {
	case h.Decay != nil:
		return "decay " + h.Decay.HalfLife.String()
	case h.Window != nil:
		return fmt.Sprintf("window %s/%d", h.Window.Size, h.Window.Buckets)
	case h.Session != nil:
		return strings.TrimSpace(fmt.Sprintf("session %s %s", h.Session.Gap, strings.Join(h.Session.On, ",")))
	case h.Month != nil:
		return strings.TrimSpace("month " + h.Month.Zone)
	}
	return "lifetime"
}

func (b *builder) features() error {
	seen := map[string]bool{}
	for i := range b.decl.Features {
		d := &b.decl.Features[i]
		path, within := fmt.Sprintf("$.features[%d]", i), "feature "+d.Name
		if err := b.checkName(path, "feature", d.Name, seen); err != nil {
			return err
		}
		f := &feature{decl: *d, num: -1, den: -1}
		if d.Empty != nil {
			f.empty = *d.Empty
		} else if d.Agg == Since {
			f.empty = defaultNever
		}
		b.set.features = append(b.set.features, f)
		if d.Expr != "" {
			if len(d.On) > 0 || d.Agg != "" || d.Value != "" || d.Where != "" {
				return b.fault(path+".expr", within, "expr can't be combined with on, where, value and agg, because it is computed from other features; drop either")
			}
			f.eval = readDerived
			continue
		}
		if err := b.aggregate(f, path, within); err != nil {
			return err
		}
	}
	return nil
}

// aggregate compiles a feature that is computed from events.
func (b *builder) aggregate(f *feature, path, within string) error {
	d := &f.decl
	if err := b.checkAgg(d, path, within); err != nil {
		return err
	}
	infos, err := b.types(path+".on", within, d.On)
	if err != nil {
		return err
	}
	src := stream{infos, d.Where, d.Value, path, within}
	if !horizons[d.Agg][d.Horizon.name()] {
		f.eval = readOrdered
		f.num, err = b.orderedSlot(d, src)
		return err
	}
	switch d.Agg {
	case Count:
		src.value = ""
		f.num, err = b.sumSlot(d, src)
	case Sum:
		f.num, err = b.sumSlot(d, src)
	case Mean, Ratio:
		f.eval = readShare
		if f.num, err = b.sumSlot(d, src); err != nil {
			return err
		}
		src.value = d.Of
		f.den, err = b.sumSlot(d, src)
	}
	return err
}

// checkAgg refuses combinations without a meaning and says what is allowed.
func (b *builder) checkAgg(d *Declaration, path, within string) error {
	allowed, ok := horizons[d.Agg]
	if !ok {
		return b.fault(path+".agg", within, "agg %q is unknown; there are count, sum, mean, ratio, max, min, last, since, streak, changes, distinct, gap, duration and follow (or expr for a feature over features)", d.Agg)
	}
	h := d.Horizon
	if _, ok := allowed[h.name()]; !ok {
		return b.fault(path+".horizon", within, "agg %s has no %s horizon; it can have %s", d.Agg, h.name(), strings.Join(slices.Sorted(maps.Keys(allowed)), ", "))
	}
	_, takes := valued[d.Agg]
	switch {
	case takes && d.Value == "":
		return b.fault(path+".value", within, "agg %s needs a value, e.g. data.stake", d.Agg)
	case !takes && d.Value != "":
		return b.fault(path+".value", within, "agg %s takes no value; move the condition to where", d.Agg)
	case (d.Agg == Ratio) != (d.Of != ""):
		return b.fault(path+".of", within, "of is the denominator of a ratio: only agg ratio has it, and needs it")
	case (d.Agg == Follow) != (d.After != nil):
		return b.fault(path+".after", within, "after names the events that are followed: only agg follow has it, and needs it")
	case d.Pause != 0 && d.Agg != Gap:
		return b.fault(path+".pause", within, "pause is the longest gap that counts: only agg gap has it")
	case d.Limit != 0 && d.Agg != Distinct, d.Limit < 0, d.Limit > 1024:
		return b.fault(path+".limit", within, "limit is how many values a distinct remembers (1 to 1024): only agg distinct has it")
	case h.Decay != nil && h.Decay.HalfLife.Milliseconds() < 1000:
		return b.fault(path+".horizon", within, "half_life must be at least 1s")
	case h.Session != nil && h.Session.Gap.Milliseconds() < 1000:
		return b.fault(path+".horizon", within, "a session needs a gap of at least 1s")
	case h.Month != nil && h.Month.Zone != "" && event.Zone(h.Month.Zone) == nil:
		return b.fault(path+".horizon", within, "there is no time zone %q; write one such as Europe/Amsterdam", h.Month.Zone)
	case h.Window != nil && h.Window.Size.Milliseconds() < 1000:
		return b.fault(path+".horizon", within, "a window needs a size of at least 1s")
	}
	return b.checkBuckets(d, path, within)
}

func (b *builder) checkBuckets(d *Declaration, path, within string) error {
	w := d.Horizon.Window
	if w == nil {
		return nil
	}
	if d.Agg == Distinct || d.Agg == Last {
		if w.Buckets != 0 {
			return b.fault(path+".horizon", within, "agg %s has an exact window: drop buckets", d.Agg)
		}
		return nil
	}
	w.Buckets = cmp.Or(w.Buckets, 24)
	if w.Buckets < 1 || w.Buckets > 366 || w.Size.Milliseconds()%int64(w.Buckets) != 0 {
		return b.fault(path+".horizon", within, "buckets must be 1 to 366 and divide the size %s into whole milliseconds, is %d", w.Size, w.Buckets)
	}
	return nil
}

// stream is a source of values: event types, a condition and a value ("" means 1).
// path and within are the place for error messages.
type stream struct {
	infos        []*event.Info
	where, value string
	path, within string
}

// text identifies the stream.
func (s stream) text() string {
	var types []string
	for _, i := range s.infos {
		types = append(types, shortType(i.Type))
	}
	return strings.Join(types, ",") + "|" + s.where + "|" + s.value
}

// source is a stream compiled for one event type.
type source struct {
	plan         *plan
	where, value int
}

// compile checks the stream's expressions against each of its event types.
func (b *builder) compile(s stream, want []kind) (out []source, float bool, err error) {
	for _, info := range s.infos {
		src := source{plan: b.plan(info)}
		if src.where, err = b.program(info, s.where, nil, kindBool); err != nil {
			return nil, false, b.fault(s.path+".where", s.within+": where", "%v", err)
		}
		if src.value, err = b.program(info, s.value, nil, want...); err != nil {
			return nil, false, b.fault(s.path+".value", s.within+": value", "%v", err)
		}
		if src.value >= 0 {
			float = float || src.plan.programs[src.value].code.kind == kindFloat
		}
		out = append(out, src)
	}
	return out, float, nil
}

// sumSlot adds a commutative slot.
func (b *builder) sumSlot(d *Declaration, s stream) (int, error) {
	sources, float, err := b.compile(s, valued[Sum])
	if err != nil {
		return 0, err
	}
	sl := slot{text: "sum|" + d.Horizon.String() + "|" + s.text(), agg: opSum, float: float, value: -1, of: -1, active: -1}
	sl.setHorizon(d.Horizon)
	n, isNew, err := b.slot(sl)
	if err != nil {
		return 0, b.fault(s.path, s.within, "%v", err)
	}
	if isNew {
		for _, src := range sources {
			step := sumStep{n, src.where, src.value, -1}
			if src.plan.typ == event.TypeRoundSettled {
				if step.input, err = b.record(s); err != nil {
					return 0, err
				}
			}
			src.plan.sums = append(src.plan.sums, step)
		}
	}
	return n, nil
}

// record makes the timeline keep what each round adds to a sum, so that a rollback can
// undo it.
func (b *builder) record(s stream) (int, error) {
	info, _ := event.Lookup(event.TypeRoundSettled)
	s.infos = []*event.Info{info}
	return b.input(s, valued[Sum])
}

// markRounds gives rounds one more input. Its identity covers all sums that rounds add
// to, so that a row without it was folded with other declarations.
func (b *builder) markRounds() error {
	p := b.set.plans[event.TypeRoundSettled] // rounds change facts, so there is one
	text := "recorded"
	for _, step := range p.sums {
		text += "|" + b.set.slots[step.slot].text
	}
	n, in := len(b.set.inputs), &input{hash: hash32(text), text: "recorded", unit: true}
	if _, taken := b.set.byInput[in.hash]; taken || n == maxInputs {
		return b.fault("$.features", "", "sums of rounds need one more of the %d streams of values: reuse where and value of another feature", maxInputs)
	}
	b.set.inputs = append(b.set.inputs, in)
	b.set.byInput[in.hash] = n
	p.inputs = append(p.inputs, inputStep{n, -1, -1})
	b.set.recorded = 1 << n
	return nil
}

func (sl *slot) setHorizon(h Horizon) {
	switch {
	case h.Decay != nil:
		sl.halfLife = float64(h.Decay.HalfLife.Milliseconds())
	case h.Window != nil:
		sl.size = h.Window.Size.Milliseconds()
		if h.Window.Buckets > 0 {
			sl.width = sl.size / int64(h.Window.Buckets)
		}
	case h.Session != nil:
		sl.gap = h.Session.Gap.Milliseconds()
	case h.Month != nil: // buckets of a day; only those of the current month count
		sl.size, sl.width, sl.month, sl.zone = 31*dayMs, dayMs, true, event.Zone(h.Month.Zone)
	}
}

const dayMs = 24 * 3600 * 1000
