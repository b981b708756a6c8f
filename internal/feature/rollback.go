package feature

import (
	"slices"

	"pitboss/internal/event"
)

// undo takes a rolled-back round out of the state. It undoes what the round's row on
// the timeline recorded and ignores the amounts and the time in the rollback. A round
// that may still come is remembered as void. If the round is neither on the timeline
// nor may still come, nothing is undone and known is false.
func (st *State) undo(sc *scope, r *event.Record, data *event.RoundRolledback, rolledBack position) (known bool) {
	round := positionOf(data.Settled, event.Key(r.Source, data.Round))
	round.ns = 0 // voids are stored without nanoseconds
	if st.voided(round.key) {
		return true
	}
	n := slices.IndexFunc(st.rows, func(r row) bool { return r.pos.key == round.key })
	switch {
	case n >= 0 && st.rows[n].mask&st.set.recorded == 0: // folded with other declarations: what it added is unknown
		return false
	case n < 0 && (round.ms < st.latest-st.set.lateness || round.before(st.floor)): // it would be late
		return false
	}
	round.ms = min(round.ms, rolledBack.ms) // a time in the future would keep the void too long
	v, _ := slices.BinarySearchFunc(st.void, round, position.compareStored)
	st.void = slices.Insert(st.void, v, round)
	if n >= 0 {
		st.takeOut(sc, &st.rows[n])
		st.remove(n)
	}
	return true
}

// voided reports whether the round with this key was rolled back.
func (st *State) voided(key uint32) bool {
	return slices.ContainsFunc(st.void, func(p position) bool { return p.key == key })
}

// takeOut subtracts from the sums what a round added to them, as its row recorded it.
func (st *State) takeOut(sc *scope, r *row) {
	s := st.set
	for _, step := range s.plans[event.TypeRoundSettled].sums {
		v, ok := st.input(r, step.input)
		if !ok {
			continue
		}
		if s.slots[step.slot].float && !s.inputs[step.input].float {
			v = floatValue(float64(v))
		}
		st.addTo(step.slot, r.pos.ms, v, -1, sc)
	}
}
