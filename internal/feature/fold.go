package feature

import (
	"math/bits"
	"slices"
	"time"

	"pitboss/internal/event"
	"pitboss/internal/player"
)

// Outcome is the result of folding one event.
type Outcome struct {
	// Late says that the event is older than the lateness window, so that it changed
	// nothing but facts, which are never late.
	Late bool
	// Unknown says that the event rolls back a round that is unknown or was folded too
	// long ago, so that nothing was undone.
	Unknown bool
	// Changed says that the state has changed and must be stored.
	Changed bool
	// Due lists the score_when conditions that ask for a decision.
	Due []string
	// Reminders lists those that were set, moved or cancelled.
	Reminders []player.ReminderChange
	// Vector holds the features right after the event, if Due is not empty.
	Vector []float64
}

// Folds reports whether events of this type change a player's state. Events from
// platforms do, and due reminders. Privacy requests are handled by another function,
// and events that Pitboss sends change nothing.
func Folds(r *event.Record) bool {
	switch r.Type {
	case event.TypeReminderDue:
		return true
	case event.TypePrivacyErase, event.TypePrivacyExport:
		return false
	}
	return r.Info.Direction == event.In
}

// Fold applies one event to st. It is deterministic: the same state and event give the
// same result. The caller must keep duplicates out.
func (s *Set) Fold(st *State, r *event.Record) (Outcome, error) {
	p, ok := s.plans[r.Type]
	if !ok {
		p = &plan{typ: r.Type}
	}
	at := positionOf(r.Time, r.Key())
	var out Outcome
	if p.facts != nil {
		st.factsChanged = false
		p.facts(st, at, r.Data)
		out.Changed = st.factsChanged
	}
	if st.applied > 0 && at.ms < st.latest-s.lateness {
		st.late++
		out.Late = true
		return out, nil
	}
	if st.applied == 0 || at.ms > st.latest {
		st.latest = at.ms
	}
	st.applied++
	out.Changed = true

	var due [8]int64
	before := st.dues(due[:0])
	sc := s.scopes.Get().(*scope)
	defer s.release(sc)
	sc.open(st, p, r.Data, r.Type, r.Source, r.ID, r.Time)
	fired := -1
	switch data := r.Data.(type) {
	case *event.RoundRolledback:
		out.Unknown = !st.undo(sc, r, data, at)
		sc.open(st, p, r.Data, r.Type, r.Source, r.ID, r.Time)
	case *event.ReminderDue:
		fired = st.fire(data)
	}
	st.apply(p, sc, at)
	st.remindWhen(p, sc, at)
	st.settle()
	out.Reminders = st.reminderChanges(before)
	out.Due = st.decide(p, sc, at.ms, fired)
	if len(out.Due) > 0 {
		out.Vector = s.Vector(nil, st, time.UnixMilli(st.latest))
	}
	return out, nil
}

// open points the scope at an event.
func (sc *scope) open(st *State, p *plan, data any, typ, src, id string, at time.Time) {
	sc.set, sc.st, sc.plan = st.set, st, p
	sc.data, sc.typ, sc.src, sc.id, sc.time = data, typ, src, id, at
	sc.failed = false
	sc.results = slices.Grow(sc.results[:0], len(p.programs))[:len(p.programs)]
	clear(sc.results)
}

func (s *Set) release(sc *scope) {
	sc.st, sc.data = nil, nil
	s.scopes.Put(sc)
}

// apply adds an event to sums and timeline, unless it is a round that was rolled
// back before it came.
func (st *State) apply(p *plan, sc *scope, at position) {
	if p.typ == event.TypeRoundSettled && st.voided(at.key) {
		return
	}
	st.addSums(p, sc, at.ms, 1)
	if !p.row {
		return
	}
	r := st.draw(p, sc, at)
	if st.floor != (position{}) && at.before(st.floor) {
		st.foldBehind(&r)
		return
	}
	st.insert(r)
}

func (st *State) addSums(p *plan, sc *scope, ms, sign int64) {
	for _, step := range p.sums {
		if !sc.holds(step.where) {
			continue
		}
		v := value(1)
		sl := st.set.slots[step.slot]
		if step.value >= 0 {
			var ok bool
			if v, ok = sc.eval(step.value); !ok {
				continue
			}
			v = p.programs[step.value].as(sl.float, v)
		}
		st.addTo(step.slot, ms, v, sign, sc)
	}
}

func (st *State) addTo(slot int, ms int64, v value, sign int64, sc *scope) {
	c, sl := &st.cells[slot], st.set.slots[slot]
	sl.add(c, ms, v, sign, sc.growing)
	if sl.width > 0 && int64(len(c.set)) > sl.size/sl.width+1 {
		sl.prune(c, st.latest, 0)
	}
}

// draw evaluates the timeline's inputs for an event.
func (st *State) draw(p *plan, sc *scope, at position) row {
	r := row{pos: at, at: len(st.values)}
	for _, step := range p.inputs { // in order of input: row values are packed in that order
		if !sc.holds(step.where) {
			continue
		}
		in := st.set.inputs[step.input]
		if !in.unit {
			v, ok := sc.eval(step.value)
			if !ok {
				continue
			}
			v = p.programs[step.value].as(in.float, v)
			st.values = append(st.values, v)
		}
		r.mask |= 1 << step.input
	}
	return r
}

// stored returns how many values a row with this mask has.
func (s *Set) stored(mask uint64) int { return bits.OnesCount64(mask & s.valued) }

// foldBehind folds a row that precedes rows which the timeline's capacity has already
// forced into the base. Only slots whose steps commute can still count it.
func (st *State) foldBehind(r *row) {
	for _, n := range st.set.ordered {
		if sl := st.set.slots[n]; sl.mask&r.mask != 0 && sl.commutes() {
			sl.step(&st.cells[n], st, r)
		}
	}
	st.dead += st.set.stored(r.mask)
	st.stale(0)
}
