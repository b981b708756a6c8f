package feature

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// The timeline is written by column: the positions of the rows, then for each
// input which rows have it and their values. A column carries the hash of its
// input's declaration; unknown ones are kept for as long as their rows are.

// Bits of a column's first byte.
const (
	columnValues = 1 << iota // values follow; else each is 1
	columnFloats             // they are float64
	columnAll                // every row has the input; else a bitmap follows
)

// column is one that this release does not know.
type column struct {
	hash uint32
	kind byte
	pos  []position // sorted
	vals []value
}

func (st *State) appendTimeline(dst []byte) []byte {
	if len(st.rows) == 0 {
		return dst
	}
	dst, mark := open(dst, sectionTimeline)
	dst = binary.AppendVarint(dst, st.latest)
	dst = binary.AppendUvarint(dst, uint64(len(st.rows)))
	last := st.latest
	var all, any uint64
	all = ^all
	for i := range st.rows {
		r := &st.rows[i]
		dst = binary.AppendVarint(dst, r.pos.ms-last)
		dst = binary.LittleEndian.AppendUint32(dst, r.pos.key)
		last = r.pos.ms
		all &= r.mask
		any |= r.mask
	}
	for any != 0 {
		n := bits.TrailingZeros64(any)
		any &^= 1 << n
		dst = st.appendColumn(dst, n, all&(1<<n) != 0)
	}
	for i := range st.unknown.columns {
		dst = st.appendUnknown(dst, &st.unknown.columns[i])
	}
	return closeSection(dst, mark)
}

func (st *State) appendColumn(dst []byte, n int, all bool) []byte {
	in := st.set.inputs[n]
	var kind byte
	if !in.unit {
		kind |= columnValues
	}
	if in.float {
		kind |= columnFloats
	}
	has := func(i int) (value, bool) { return st.input(&st.rows[i], n) }
	return appendColumn(dst, in.hash, kind, all, len(st.rows), has)
}

func (st *State) appendUnknown(dst []byte, c *column) []byte {
	n := 0
	has := func(i int) (value, bool) {
		k, ok := slices.BinarySearchFunc(c.pos, st.rows[i].pos, position.compare)
		if !ok {
			return 0, false
		}
		return c.vals[k], true
	}
	for i := range st.rows {
		if _, ok := has(i); ok {
			n++
		}
	}
	if n == 0 {
		return dst
	}
	return appendColumn(dst, c.hash, c.kind, n == len(st.rows), len(st.rows), has)
}

func appendColumn(dst []byte, hash uint32, kind byte, all bool, rows int, has func(int) (value, bool)) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, hash)
	if all {
		kind |= columnAll
	}
	at := len(dst)
	dst = append(dst, 0, kind)
	if !all {
		from := len(dst)
		for i := 0; i < (rows+7)/8; i++ {
			dst = append(dst, 0)
		}
		for i := range rows {
			if _, ok := has(i); ok {
				dst[from+i/8] |= 1 << (i % 8)
			}
		}
	}
	if kind&columnValues != 0 {
		for i := range rows {
			v, ok := has(i)
			switch {
			case !ok:
			case kind&columnFloats != 0:
				dst = appendFloat(dst, v.float())
			default:
				dst = binary.AppendVarint(dst, int64(v))
			}
		}
	}
	n := len(dst) - at - 1
	if n < 0x80 {
		dst[at] = byte(n)
		return dst
	}
	return slices.Replace(dst, at, at+1, binary.AppendUvarint(nil, uint64(n))...)
}

func (st *State) readTimeline(d *decoder) {
	base := d.varint()
	n := d.count(5)
	st.rows = make([]row, n, n+2)
	last := base
	for i := range st.rows {
		last += d.varint()
		st.rows[i].pos = position{last, d.fixed32()}
		if i > 0 && !st.rows[i-1].pos.before(st.rows[i].pos) {
			d.fail()
			return
		}
	}
	var known [64]column
	for len(d.b) > 0 && d.err == nil {
		hash := d.fixed32()
		in := &decoder{b: d.bytes()}
		c := column{hash: hash}
		c.read(in, st.rows)
		if in.err != nil || len(in.b) > 0 || d.err != nil {
			d.fail()
			return
		}
		if k, ok := st.set.byInput[hash]; ok && c.fits(st.set.inputs[k]) {
			known[k] = c
		} else {
			st.unknown.columns = append(st.unknown.columns, c)
		}
	}
	if d.err == nil {
		st.fill(&known)
	}
}

func (c *column) fits(in *input) bool {
	return (c.kind&columnValues == 0) == in.unit && (c.kind&columnFloats != 0) == in.float
}

func (c *column) read(d *decoder, rows []row) {
	c.kind = d.byte()
	all := c.kind&columnAll != 0
	c.kind &^= columnAll
	var bitmap []byte
	if !all {
		n := (len(rows) + 7) / 8
		if n > len(d.b) {
			d.fail()
			return
		}
		bitmap, d.b = d.b[:n], d.b[n:]
	}
	for i := range rows {
		if !all && bitmap[i/8]&(1<<(i%8)) == 0 {
			continue
		}
		v := value(1)
		switch {
		case c.kind&columnValues == 0:
		case c.kind&columnFloats != 0:
			v = floatValue(d.float())
		default:
			v = value(d.varint())
		}
		c.pos = append(c.pos, rows[i].pos)
		c.vals = append(c.vals, v)
	}
}

// fill turns the columns read into the rows' masks and packed values.
func (st *State) fill(known *[64]column) {
	var next [64]int
	total := 0
	for k := range st.set.inputs {
		total += len(known[k].vals)
	}
	st.values = make([]value, 0, total+16)
	for i := range st.rows {
		r := &st.rows[i]
		r.at = len(st.values)
		for k, in := range st.set.inputs {
			c := &known[k]
			if next[k] == len(c.pos) || c.pos[next[k]] != r.pos {
				continue
			}
			r.mask |= 1 << k
			if !in.unit {
				st.values = append(st.values, c.vals[next[k]])
			}
			next[k]++
		}
	}
}
