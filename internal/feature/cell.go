package feature

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// cell is the stored content of a slot. Each aggregation uses some of the members. A
// member that is zero takes no bytes in stored state.
type cell struct {
	on    bool
	actNs uint32 // register: nanoseconds beyond act's millisecond
	act   int64  // ms: session: last activity; follow: when the streak was last long enough
	t     int64  // ms: the start of the half-life that f counts from, or the latest event's time
	k     uint32
	tNs   uint32 // last, since, register: nanoseconds beyond t's millisecond
	i, j  int64
	f, g  float64
	set   []member // sorted by id
}

// copy copies from into c. The two share no memory.
func (c *cell) copy(from *cell) {
	set := append(c.set[:0], from.set...)
	*c = *from
	c.set = set
}

// member is a window's bucket or a distinct value.
type member struct {
	id int64 // bucket number, or hash of the value
	v  int64 // sum (int64 or float64 bits) or maximum of the bucket; ms the value was last seen
}

func (c *cell) position() position { return position{ms: c.t, key: c.k, ns: c.tNs} }

// faded is the weight (20 half-lives) below which an average has no value.
const faded = 1e-6

// gone is the number of half-lives after which a decayed number counts as zero (5e-20
// of it is left), so that it need not be stored.
const gone = 64

// fade returns the share of a decayed number that is left after span milliseconds.
func fade(span int64, halfLife float64) float64 {
	if span <= 0 {
		return 1
	}
	x := float64(span) / halfLife
	if x > gone {
		return 0
	}
	return math.Exp2(-x)
}

// Decayed sums use forward decay. c.t is the start of the sum's latest half-life. A
// value that comes span after c.t is multiplied by 2^(span/half-life), a factor from 1
// to below 2, and is not touched again. Hence a value weighs the same to the bit
// whenever it arrives and when it is taken out, and moving on to the next half-life
// only halves the sum, which is exact. The sum is kept in two doubles, c.f + c.g, about
// 106 bits, so that its rounding error stays far below a double's in any order of
// values, even after a very large value has been taken out again.

// growing caches the last result for each half-life: the slots of one event mostly ask
// for the same moment.
type growing []growth

type growth struct {
	ms     int64
	start  int64   // of the half-life that contains ms
	factor float64 // the weight of a value at ms, where one at start has weight 1
}

func (m growing) at(sl *slot, ms int64) (start int64, factor float64) {
	g := &m[sl.class]
	if g.ms != ms || g.factor == 0 {
		g.ms, g.start = ms, sl.halfLifeStart(ms)
		g.factor = math.Exp2(float64(ms-g.start) / sl.halfLife)
	}
	return g.start, g.factor
}

func (sl *slot) halfLifeStart(ms int64) int64 {
	length := int64(sl.halfLife)
	return floorDiv(ms, length) * length
}

// addDecayed adds a value x of the time ms.
func (sl *slot) addDecayed(c *cell, ms int64, x float64, m growing) {
	start, factor := m.at(sl, ms)
	hi := x * factor
	lo := math.FMA(x, factor, -hi)
	switch {
	case !c.on:
		c.on, c.t = true, start
	case c.t < start:
		left := fade(start-c.t, sl.halfLife)
		c.f, c.g, c.t = c.f*left, c.g*left, start
	case c.t > start:
		left := fade(c.t-start, sl.halfLife)
		hi, lo = hi*left, lo*left
	}
	c.f, c.g = addDoubles(c.f, c.g, hi, lo)
}

// addDoubles adds two numbers of two doubles each (Knuth's two-sum, then
// renormalized). A sum beyond the range of doubles becomes the largest double.
func addDoubles(aHi, aLo, bHi, bLo float64) (hi, lo float64) {
	sum := aHi + bHi
	if math.Abs(sum) > math.MaxFloat64 {
		return finite(sum), 0
	}
	b := sum - aHi
	rest := (aHi - (sum - b)) + (bHi - b) + aLo + bLo
	hi = sum + rest
	return hi, rest - (hi - sum)
}

// decayed reads a decayed sum as of ms.
func (sl *slot) decayed(c *cell, ms int64, m growing) float64 {
	start, factor := m.at(sl, ms)
	left := fade(start-c.t, sl.halfLife)
	if c.t > start { // stored by an older release, which counts from the latest event
		left = math.Exp2(float64(c.t-start) / sl.halfLife)
	}
	hi, lo := c.f*left, c.g*left
	x := hi / factor
	return x + (math.FMA(-x, factor, hi)+lo)/factor
}

// find returns the index at which id is, or belongs, in the set.
func find(set []member, id int64) (int, bool) {
	if n := len(set); n > 0 && set[n-1].id <= id { // mostly the newest bucket
		if set[n-1].id == id {
			return n - 1, true
		}
		return n, false
	}
	return slices.BinarySearchFunc(set, id, func(m member, id int64) int { return cmp.Compare(m.id, id) })
}

// add folds v into a commutative slot. A sign of 1 adds it, a sign of -1 takes it out
// again, for integers to the last bit.
func (sl *slot) add(c *cell, ms int64, v value, sign int64, m growing) {
	switch {
	case sl.halfLife > 0:
		x := float64(sign) * v.number(sl.float)
		sl.addDecayed(c, ms, x, m)
		if sign < 0 && math.Abs(c.f) < 1e-25*math.Abs(x) {
			c.f = 0 // only a rounding error is left
		}
		if c.f == 0 {
			*c = cell{}
		}
	case sl.width > 0:
		sl.addToBucket(c, ms, v, sign)
	case sl.float:
		c.addFloat(float64(sign) * v.float())
		c.on = c.f != 0
	default:
		c.addInt(int64(v), sign)
		c.on = c.i != 0 || c.j != 0
	}
}

// addFloat adds x to a sum of doubles, which is kept in two doubles like a decayed one.
// A sum that has reached the largest double stays there.
func (c *cell) addFloat(x float64) {
	if math.Abs(c.f) < math.MaxFloat64 {
		c.f, c.g = addDoubles(c.f, c.g, x, 0)
	}
}

// addInt adds sign*v to an integer sum of 128 bits, j*2^64 + i. No number of events can
// overflow it, so that any of them can be taken out again.
func (c *cell) addInt(v, sign int64) {
	sum := c.i + sign*v
	switch {
	case v == math.MinInt64: // -v is no int64; no platform event has it
		sum = c.i
	case sign*v > 0 && sum < c.i:
		c.j++
	case sign*v < 0 && sum > c.i:
		c.j--
	}
	c.i = sum
}

func (c *cell) int() float64 { return float64(c.j)*(1<<64) + float64(c.i) }

// finite bounds a sum of doubles, so that it becomes neither infinite nor, after that,
// NaN.
func finite(x float64) float64 { return max(-math.MaxFloat64, min(x, math.MaxFloat64)) }

// sumFloats adds doubles. A sum that has reached the largest double stays there.
func sumFloats(a, b float64) float64 {
	if math.Abs(a) == math.MaxFloat64 {
		return a
	}
	return finite(a + b)
}

// saturate adds to a bucket's integer. It stops at the largest int64 and stays there
// until the bucket leaves the window.
func saturate(a, b int64) int64 {
	switch sum := a + b; {
	case a == math.MaxInt64 || a == math.MinInt64:
		return a
	case b > 0 && sum < a:
		return math.MaxInt64
	case b < 0 && sum > a:
		return math.MinInt64
	default:
		return sum
	}
}

func (sl *slot) addToBucket(c *cell, ms int64, v value, sign int64) {
	id := floorDiv(sl.local(ms), sl.width)
	n, found := find(c.set, id)
	if !found {
		c.set = slices.Insert(c.set, n, member{id: id})
	}
	m := &c.set[n]
	if sl.float {
		m.v = int64(floatValue(sumFloats(value(m.v).float(), float64(sign)*v.float())))
	} else {
		m.v = saturate(m.v, sign*int64(v))
	}
	if value(m.v).number(sl.float) == 0 {
		c.set = slices.Delete(c.set, n, n+1)
	}
	c.on = len(c.set) > 0
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// local returns ms shifted by the offset of the month's time zone, so that the local
// time can be read as if it were UTC.
func (sl *slot) local(ms int64) int64 {
	if sl.zone == nil {
		return ms
	}
	_, offset := time.UnixMilli(ms).In(sl.zone).Zone()
	return ms + int64(offset)*1000
}

// expired returns the number of leading buckets that have left the window at ms.
func (sl *slot) expired(c *cell, ms int64) (n int) {
	ms = sl.local(ms)
	oldest := floorDiv(ms, sl.width) - sl.size/sl.width + 1
	if sl.month {
		oldest = floorDiv(ms, sl.width) - int64(time.UnixMilli(ms).UTC().Day()) + 1
	}
	for n < len(c.set) && c.set[n].id < oldest {
		n++
	}
	return n
}

// sum reads a commutative slot as of ms.
func (sl *slot) sum(c *cell, ms int64, m growing) float64 {
	switch {
	case sl.halfLife > 0:
		return sl.decayed(c, ms, m)
	case sl.width > 0:
		return sl.sumBuckets(c.set[sl.expired(c, ms):])
	case sl.float:
		return c.f
	default:
		return c.int()
	}
}

func (sl *slot) sumBuckets(set []member) float64 {
	if !sl.float {
		var n cell
		for _, m := range set {
			n.addInt(m.v, 1)
		}
		return n.int()
	}
	var x float64
	for _, m := range set {
		x = sumFloats(x, value(m.v).float())
	}
	return x
}

// prune drops values that can no longer count, so that equal histories have equal bytes
// and inactive players have small states. horizon is the age of the oldest entry that
// the timeline may still hold or accept, in milliseconds.
func (sl *slot) prune(c *cell, latest, horizon int64) {
	switch {
	case sl.gap > 0:
		if c.on && latest-c.act > sl.gap+horizon {
			*c = cell{}
		}
	case sl.width > 0:
		if n := sl.expired(c, latest); n > 0 {
			c.set = slices.Delete(c.set, 0, n)
		}
		if len(c.set) == 0 {
			*c = cell{}
		}
	case sl.size > 0 && sl.agg == opDistinct:
		c.set = slices.DeleteFunc(c.set, func(m member) bool { return m.v <= latest-sl.size })
		if len(c.set) == 0 {
			*c = cell{}
		}
	case sl.halfLife > 0 && !sl.ordered:
		// It counts as zero even at the time of the oldest event that may still come.
		if latest-c.t > horizon+int64((gone+1)*sl.halfLife) {
			*c = cell{}
		}
	}
}
