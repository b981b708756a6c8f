package feature

import (
	"slices"

	"pitboss/internal/event"
)

// undo takes out what was folded of a rolled-back round. The rollback only names
// the round: what its row on the timeline recorded is undone, whatever amounts
// and time the rollback repeats. A round that may still come is remembered as
// void. known is false where the round is neither: nothing is undone.
func (st *State) undo(sc *scope, r *event.Record, data *event.RoundRolledback, rolledBack position) (known bool) {
	round := positionOf(data.Settled, event.Key(r.Source, data.Round))
	round.ns = 0 // not stored of voids
	if st.voided(round.key) {
		return true
	}
	n := slices.IndexFunc(st.rows, func(r row) bool { return r.pos.key == round.key })
	switch {
	case n >= 0 && st.rows[n].mask&st.set.recorded == 0: // folded with other declarations: what it added is not known
		return false
	case n < 0 && (round.ms < st.latest-st.set.lateness || round.before(st.floor)): // can't come in time any more
		return false
	}
	round.ms = min(round.ms, rolledBack.ms) // so that it is forgotten in time
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

// takeOut subtracts from the sums what the row's round added to them.
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
