package feature

import (
	"math"
	"slices"
)

// step folds one timeline row into an ordered slot. Rows always come in order of (time,
// key). So every aggregation that can be written as a step is independent of the order
// of arrival, and leaving a row out undoes it.
func (sl *slot) step(c *cell, st *State, r *row) {
	at := r.pos
	if sl.gap > 0 {
		if c.on && at.ms-c.act > sl.gap {
			*c = cell{}
		}
		if !c.on && sl.agg == opLength {
			c.t = at.ms
		}
		c.on, c.act = true, at.ms
	}
	if sl.agg == opFollow {
		sl.stepFollow(c, st, r)
		return
	}
	if sl.value < 0 {
		return
	}
	v, ok := st.input(r, sl.value)
	if !ok {
		return
	}
	sl.count(c, st, r, v)
	c.on = true
}

// count folds the entry's value v into the slot.
func (sl *slot) count(c *cell, st *State, r *row, v value) {
	at := r.pos
	x := v.number(sl.float)
	switch sl.agg {
	case opCount:
		c.i++
	case opSum:
		if sl.float {
			c.f = sumFloats(c.f, x)
		} else {
			c.addInt(int64(v), 1)
		}
	case opMean:
		c.f = sumFloats(c.f, x)
		c.j++
	case opRatio:
		of, _ := st.input(r, sl.of)
		c.f = sumFloats(c.f, x)
		c.g = sumFloats(c.g, of.number(st.set.inputs[sl.of].float))
	case opMax, opMin:
		sl.stepExtreme(c, at, x)
	case opLast, opSince:
		if !c.on || c.t == 0 || c.position().before(at) {
			c.t, c.k, c.tNs = at.ms, at.key, at.ns
			if sl.agg == opLast {
				c.f = x
			}
		}
	case opStreak:
		if v != 0 {
			c.i++
		} else {
			c.i = 0
		}
	case opChanges:
		if !c.on || c.i == 0 || c.j != int64(v) {
			c.i, c.j = c.i+1, int64(v)
		}
	case opDistinct:
		sl.stepDistinct(c, at.ms, int64(v))
	case opGap:
		sl.stepGap(c, at.ms)
	}
}

// commutes reports whether step gives the same result for rows in any order.
func (sl *slot) commutes() bool {
	switch sl.agg {
	case opMax, opMin, opLast, opSince, opDistinct:
		return sl.gap == 0
	}
	return false
}

func (sl *slot) stepExtreme(c *cell, at position, x float64) {
	better := func(old float64) float64 {
		if sl.agg == opMin {
			return math.Min(old, x)
		}
		return math.Max(old, x)
	}
	if sl.width == 0 {
		if c.j == 0 {
			c.f, c.j = x, 1
		} else {
			c.f = better(c.f)
		}
		return
	}
	id := floorDiv(at.ms, sl.width)
	n, found := find(c.set, id)
	if found {
		c.set[n].v = int64(floatValue(better(value(c.set[n].v).float())))
		return
	}
	c.set = slices.Insert(c.set, n, member{id, int64(floatValue(x))})
	if e := sl.expired(c, at.ms); e > 0 {
		c.set = slices.Delete(c.set, 0, e)
	}
}

// stepDistinct remembers the most recently seen values, at most sl.limit.
func (sl *slot) stepDistinct(c *cell, ms, id int64) {
	n, found := find(c.set, id)
	if found {
		c.set[n].v = max(c.set[n].v, ms)
		return
	}
	c.set = slices.Insert(c.set, n, member{id, ms})
	if len(c.set) <= sl.limit {
		return
	}
	oldest := 0
	for i, m := range c.set {
		if o := c.set[oldest]; m.v < o.v || m.v == o.v && m.id < o.id {
			oldest = i
		}
	}
	c.set = slices.Delete(c.set, oldest, oldest+1)
}

// stepGap averages the time between events. A gap longer than pause does not count.
func (sl *slot) stepGap(c *cell, ms int64) {
	if c.on && c.t != 0 {
		span := ms - c.t
		if sl.halfLife > 0 {
			left := fade(span, sl.halfLife)
			c.f *= left
			c.g *= left
		}
		if sl.pause == 0 || span <= sl.pause {
			c.f += float64(span)
			c.g++
		}
	}
	c.t = ms
}

// stepFollow counts events that come soon after a streak of others.
func (sl *slot) stepFollow(c *cell, st *State, r *row) {
	at := r.pos.ms
	if _, ok := st.input(r, sl.value); ok && c.act != 0 && at-c.act <= sl.within {
		if sl.halfLife > 0 {
			c.f *= fade(at-c.t, sl.halfLife)
		}
		c.f++
		c.t = at
	}
	if v, ok := st.input(r, sl.of); ok {
		if v == 0 {
			c.i = 0
		} else if c.i++; c.i >= sl.streak {
			c.i = sl.streak // bounded: a longer streak makes no difference
			c.act = at
		}
	}
	c.on = true
}

// read returns an ordered slot's value as of ms; ok is false when it is empty.
func (sl *slot) read(c *cell, ms int64) (x float64, ok bool) {
	if !c.on || sl.gap > 0 && ms-c.act > sl.gap {
		return 0, false
	}
	switch sl.agg {
	case opCount, opStreak, opChanges:
		return float64(c.i), true
	case opSum:
		if sl.float {
			return c.f, true
		}
		return c.int(), true
	case opMean:
		return c.f / float64(c.j), c.j > 0
	case opRatio, opGap:
		x = c.f / c.g
		if sl.agg == opGap {
			x /= 1000
		}
		return x, c.g != 0
	case opMax, opMin:
		return sl.extreme(c, ms)
	case opLast:
		return c.f, c.t != 0 && (sl.size == 0 || ms-c.t < sl.size)
	case opSince:
		return float64(ms-c.t) / 1000, c.t != 0
	case opDistinct:
		n := sl.countDistinct(c, ms)
		return float64(n), n > 0
	case opLength:
		return float64(c.act-c.t) / 1000, true
	case opFollow:
		if sl.halfLife > 0 {
			return c.f * fade(ms-c.t, sl.halfLife), true
		}
		return c.f, true
	}
	return 0, false
}

func (sl *slot) extreme(c *cell, ms int64) (x float64, ok bool) {
	if sl.width == 0 {
		return c.f, c.j > 0
	}
	for n, m := range c.set[sl.expired(c, ms):] {
		v := value(m.v).float()
		if n == 0 || sl.agg == opMax && v > x || sl.agg == opMin && v < x {
			x = v
		}
		ok = true
	}
	return x, ok
}

func (sl *slot) countDistinct(c *cell, ms int64) (n int) {
	if sl.size == 0 {
		return len(c.set)
	}
	for _, m := range c.set {
		if m.v > ms-sl.size {
			n++
		}
	}
	return n
}
