package feature

import (
	"slices"
	"time"
)

// State is one player's state, decoded. It belongs to the [Set] that decoded
// it and is not safe for concurrent use.
type State struct {
	set     *Set
	latest  int64 // ms: the latest event folded in, if any was applied
	applied uint64
	late    uint64 // late events since decoding; not stored, because a late event changes nothing

	facts        []register // sorted by (tag, key)
	factsChanged bool       // since the last Fold began
	cells        []cell     // by slot: sums; the base of ordered slots; registers
	head         []cell     // by slot: ordered slots with the timeline folded over the base
	fresh        bool       // head is up to date
	folded       bool       // head has been up to date before
	mark         []cell     // head as it was after the first `marked` rows
	marked       int        // 0: there is no mark

	rows   []row   // the timeline, sorted by position
	values []value // of the rows' inputs, see row.at
	dead   int     // values no row refers to any more
	void   []position
	floor  position // the highest position that the capacity forced into the base; zero: none

	unknown unknown // what a newer release stored
}

// row is one event on the timeline: which inputs it has, and where their values begin.
type row struct {
	pos  position
	mask uint64
	at   int
}

// AsOf returns the latest event time folded into the state, or zero for a new player.
func (st *State) AsOf() time.Time {
	if st.applied == 0 {
		return time.Time{}
	}
	return time.UnixMilli(st.latest).UTC()
}

// Counts returns how many events changed the state, and how many were kept
// out as late since the state was decoded.
func (st *State) Counts() (applied, late uint64) { return st.applied, st.late }

func (s *Set) newState() *State {
	n := len(s.slots)
	cells := make([]cell, n+len(s.ordered))
	return &State{set: s, cells: cells[:n:n], head: cells[n:]}
}

// input returns the value of input n in the row; ok is false if it has none.
func (st *State) input(r *row, n int) (v value, ok bool) {
	bit := uint64(1) << n
	if r.mask&bit == 0 {
		return 0, false
	}
	if st.set.inputs[n].unit {
		return 1, true
	}
	return st.values[r.at+st.set.stored(r.mask&(bit-1))], true
}

// insert puts a row into the timeline and folds it into the head, or marks
// the head stale when the row is out of order.
func (st *State) insert(r row) {
	n := len(st.rows)
	if n > 0 && r.pos.before(st.rows[n-1].pos) {
		n, _ = st.lookup(r.pos)
		st.stale(n)
	} else if st.fresh {
		for i, n := range st.set.ordered {
			if sl := st.set.slots[n]; sl.mask&r.mask != 0 {
				sl.step(&st.head[i], st, &r)
			}
		}
	}
	st.rows = slices.Insert(st.rows, n, r)
}

// foldBase steps the ordered slots' bases over one row.
func (st *State) foldBase(r *row) {
	for _, n := range st.set.ordered {
		if sl := st.set.slots[n]; sl.mask&r.mask != 0 {
			sl.step(&st.cells[n], st, r)
		}
	}
}

// stale records that the timeline has changed from row n on; n is 0 if the base has
// changed.
func (st *State) stale(n int) {
	st.fresh = false
	if n < st.marked {
		st.marked = 0
	}
}

// tail is how many rows follow the mark when it is set. An event out of order is rarely
// older than that many others, so that only the rows after the mark are folded again.
const tail = 32

// refresh folds the timeline over the base, unless the head is up to date.
func (st *State) refresh() {
	if st.fresh {
		return
	}
	from, to := st.marked, st.marked
	if st.folded && len(st.rows)-from > 2*tail { // a state that is read only once needs no mark
		to = len(st.rows) - tail
		if st.mark == nil {
			st.mark = make([]cell, len(st.head))
		}
	}
	for i, n := range st.set.ordered {
		sl, c := st.set.slots[n], &st.head[i]
		if from == 0 {
			c.copy(&st.cells[n])
		} else {
			c.copy(&st.mark[i])
		}
		if to > from {
			sl.steps(c, st, st.rows[from:to])
			st.mark[i].copy(c)
		}
		sl.steps(c, st, st.rows[to:])
	}
	st.marked, st.fresh, st.folded = to, true, true
}

func (sl *slot) steps(c *cell, st *State, rows []row) {
	for j := range rows {
		if r := &rows[j]; sl.mask&r.mask != 0 {
			sl.step(c, st, r)
		}
	}
}

// lookup finds the row at p.
func (st *State) lookup(p position) (int, bool) {
	return slices.BinarySearchFunc(st.rows, p, func(a row, p position) int { return a.pos.compare(p) })
}

// remove takes row n off the timeline.
func (st *State) remove(n int) {
	st.dead += st.set.stored(st.rows[n].mask)
	st.rows = slices.Delete(st.rows, n, n+1)
	st.stale(n)
}

// settle folds rows into the base: those that no later event may precede, and the oldest
// ones beyond the timeline's capacity.
func (st *State) settle() {
	edge := st.latest - st.set.lateness - st.set.rollback
	n := 0
	for n < len(st.rows) && st.rows[n].pos.ms < edge {
		st.foldBase(&st.rows[n])
		n++
	}
	for ; len(st.rows)-n > st.set.cap; n++ {
		st.foldBase(&st.rows[n])
		st.floor = st.rows[n].pos
		st.floor.ns = 0 // the floor is stored without nanoseconds
	}
	for _, r := range st.rows[:n] {
		st.dead += st.set.stored(r.mask)
	}
	st.rows = slices.Delete(st.rows, 0, n)
	st.marked = max(0, st.marked-n)
	if st.floor.ms < edge {
		st.floor = position{}
	}
	v := 0
	for v < len(st.void) && st.void[v].ms < edge {
		v++
	}
	st.void = slices.Delete(st.void, 0, v)
	if st.dead > 64 && st.dead > len(st.values)/2 {
		st.compact()
	}
}

// compact drops the values to which no row refers.
func (st *State) compact() {
	live := make([]value, 0, 2*(len(st.values)-st.dead)+16)
	for i := range st.rows {
		r := &st.rows[i]
		vals := st.values[r.at : r.at+st.set.stored(r.mask)]
		r.at = len(live)
		live = append(live, vals...)
	}
	st.values, st.dead = live, 0
}
