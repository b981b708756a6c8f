package feature

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// The timeline is written by column: first the positions of the rows, then for each
// input the rows that have it and their values. A column carries the hash of its
// input's declaration. An unknown column is kept as long as one of its rows.

// Bits of a column's first byte.
const (
	columnValues = 1 << iota // values follow; otherwise each is 1
	columnFloats             // the values are float64
	columnAll                // every row has the input; otherwise a bitmap follows
	columnBools              // the values are 0 or 1, in a second bitmap
)

// column is a column that this release does not know.
type column struct {
	hash uint32
	kind byte
	raw  []byte     // presence bitmap and values, as written
	pos  []position // the rows that it was written for
}

func (in *input) columnKind() (kind byte) {
	if !in.unit {
		kind |= columnValues
	}
	if in.float {
		kind |= columnFloats
	}
	if in.bool {
		kind |= columnBools
	}
	return kind
}

func (st *State) appendTimeline(dst []byte) []byte {
	if len(st.rows) == 0 {
		return dst
	}
	if stored := func(a, b row) int { return a.pos.compareStored(b.pos) }; !slices.IsSortedFunc(st.rows, stored) {
		slices.SortFunc(st.rows, stored)
		defer st.sortRows()
	}
	dst, mark := open(dst, sectionTimeline)
	dst = binary.AppendVarint(dst, st.latest)
	dst = binary.AppendUvarint(dst, uint64(len(st.rows)))
	last := st.latest
	var all, any uint64
	all = ^all
	var ns uint32
	for i := range st.rows {
		r := &st.rows[i]
		ns |= r.pos.ns
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
	if ns != 0 {
		dst = st.appendNanosColumn(dst)
	}
	for i := range st.unknown.columns {
		dst = st.appendUnknown(dst, &st.unknown.columns[i])
	}
	return closeSection(dst, mark)
}

// nanosColumn is the column with the nanoseconds of the rows' positions. Older releases
// take it for the column of an input that they do not know, and keep it.
var nanosColumn = hash32("nanoseconds")

func (st *State) appendNanosColumn(dst []byte) []byte {
	w := beginColumn(dst, nanosColumn, columnValues, false, len(st.rows))
	for i := range st.rows {
		if ns := st.rows[i].pos.ns; ns != 0 {
			w.put(i, value(packNanos(ns)))
		}
	}
	return w.end()
}

func (st *State) sortRows() {
	slices.SortFunc(st.rows, func(a, b row) int { return a.pos.compare(b.pos) })
}

func (st *State) appendColumn(dst []byte, n int, all bool) []byte {
	in := st.set.inputs[n]
	w := beginColumn(dst, in.hash, in.columnKind(), all, len(st.rows))
	bit, below := uint64(1)<<n, st.set.valued&(1<<n-1)
	for i := range st.rows {
		r := &st.rows[i]
		if r.mask&bit == 0 {
			continue
		}
		v := value(1)
		if !in.unit {
			v = st.values[r.at+bits.OnesCount64(r.mask&below)]
		}
		w.put(i, v)
	}
	return w.end()
}

// columnWriter writes one column: its length, its kind, the rows that have it, the
// values. Integers are written as the difference from the previous one.
type columnWriter struct {
	dst    []byte
	at     int // of the length byte
	has    int // of the presence bitmap; -1: every row has it
	bools  int // of the bitmap of values; -1: none
	kind   byte
	before value
}

func beginColumn(dst []byte, hash uint32, kind byte, all bool, rows int) columnWriter {
	w := columnWriter{has: -1, bools: -1, kind: kind}
	dst = binary.LittleEndian.AppendUint32(dst, hash)
	w.at = len(dst)
	if all {
		kind |= columnAll
	}
	dst = append(dst, 0, kind)
	if !all {
		w.has = len(dst)
		dst = appendZeros(dst, (rows+7)/8)
	}
	if kind&columnBools != 0 {
		w.bools = len(dst)
		dst = appendZeros(dst, (rows+7)/8)
	}
	w.dst = dst
	return w
}

func appendZeros(dst []byte, n int) []byte {
	dst = slices.Grow(dst, n)
	clear(dst[len(dst) : len(dst)+n])
	return dst[:len(dst)+n]
}

// put writes the value of row i; rows come in order.
func (w *columnWriter) put(i int, v value) {
	if w.has >= 0 {
		w.dst[w.has+i/8] |= 1 << (i % 8)
	}
	switch {
	case w.kind&columnValues == 0:
	case w.bools >= 0:
		if v != 0 {
			w.dst[w.bools+i/8] |= 1 << (i % 8)
		}
	case w.kind&columnFloats != 0:
		w.dst = appendFloat(w.dst, v.float())
	default:
		w.dst = binary.AppendVarint(w.dst, int64(v-w.before))
		w.before = v
	}
}

func (w *columnWriter) end() []byte { return closeShort(w.dst, w.at) }

// appendUnknown writes a column of a newer release back, for the rows that are left.
func (st *State) appendUnknown(dst []byte, c *column) []byte {
	r := beginRead(c.kind, c.raw, len(c.pos))
	left := map[position]value{}
	for i := range c.pos {
		if v, ok := r.next(i); ok {
			if _, found := st.lookup(c.pos[i]); found {
				left[c.pos[i]] = v
			}
		}
	}
	if len(left) == 0 {
		return dst
	}
	w := beginColumn(dst, c.hash, c.kind&^columnAll, len(left) == len(st.rows), len(st.rows))
	for i := range st.rows {
		if v, ok := left[st.rows[i].pos]; ok {
			w.put(i, v)
		}
	}
	return w.end()
}

// columnReader reads a column row by row.
type columnReader struct {
	kind   byte
	has    []byte // presence bitmap; nil: every row has it
	bools  []byte
	d      decoder
	before value
}

func beginRead(kind byte, raw []byte, rows int) columnReader {
	r := columnReader{kind: kind, d: decoder{b: raw}}
	if kind&columnAll == 0 {
		r.has = r.bitmap(rows)
	}
	if kind&columnBools != 0 {
		r.bools = r.bitmap(rows)
	}
	return r
}

func (r *columnReader) bitmap(rows int) []byte {
	n := (rows + 7) / 8
	if n > len(r.d.b) {
		r.d.fail()
		return make([]byte, n)
	}
	m := r.d.b[:n]
	r.d.b = r.d.b[n:]
	return m
}

// rows returns how many of n rows have a value.
func (r *columnReader) rows(n int) int {
	if r.has == nil {
		return n
	}
	n = 0
	for _, b := range r.has {
		n += bits.OnesCount8(b)
	}
	return n
}

func (r *columnReader) next(i int) (v value, ok bool) {
	if r.has != nil && r.has[i/8]&(1<<(i%8)) == 0 {
		return 0, false
	}
	switch {
	case r.kind&columnValues == 0:
		return 1, true
	case r.bools != nil:
		return value(r.bools[i/8] >> (i % 8) & 1), true
	case r.kind&columnFloats != 0:
		return floatValue(r.d.float()), true
	default:
		r.before += value(r.d.varint())
		return r.before, true
	}
}

func (st *State) readTimeline(d *decoder) {
	base := d.varint()
	n := d.count(5)
	st.rows = slices.Grow(st.rows[:0], n+2)[:n]
	clear(st.rows)
	last := base
	for i := range st.rows {
		last += d.varint()
		st.rows[i].pos = position{ms: last, key: d.fixed32()}
		if i > 0 && st.rows[i-1].pos.compareStored(st.rows[i].pos) >= 0 {
			d.fail()
			return
		}
	}
	var known [maxInputs]columnReader
	var present uint64
	var foreign []column
	for len(d.b) > 0 && d.err == nil {
		hash := d.fixed32()
		body := d.bytes()
		if len(body) == 0 {
			d.fail()
			return
		}
		kind, raw := body[0], body[1:]
		if k, ok := st.set.byInput[hash]; ok && kind&^columnAll == st.set.inputs[k].columnKind() {
			known[k] = beginRead(kind, raw, n)
			present |= 1 << k
		} else if hash == nanosColumn && kind&^columnAll == columnValues {
			st.readNanos(beginRead(kind, raw, n))
		} else {
			foreign = append(foreign, column{hash: hash, kind: kind, raw: slices.Clone(raw)})
		}
	}
	if d.err == nil && !st.fill(&known, present) {
		d.fail()
	}
	for _, c := range foreign {
		st.keepColumn(c)
	}
	if !slices.IsSortedFunc(st.rows, func(a, b row) int { return a.pos.compare(b.pos) }) {
		st.sortRows()
	}
}

func (st *State) readNanos(r columnReader) {
	for i := range st.rows {
		if v, ok := r.next(i); ok {
			st.rows[i].pos.ns = unpackNanos(int64(v))
		}
	}
}

func (st *State) keepColumn(c column) {
	for _, r := range st.rows {
		c.pos = append(c.pos, r.pos)
	}
	st.unknown.columns = append(st.unknown.columns, c)
}

// fill reads the known columns into the rows' masks and packed values.
func (st *State) fill(known *[maxInputs]columnReader, present uint64) bool {
	n := 16 // room for the values of the next events
	for left := present & st.set.valued; left != 0; left &= left - 1 {
		n += known[bits.TrailingZeros64(left)].rows(len(st.rows))
	}
	st.values = slices.Grow(st.values[:0], n)
	for i := range st.rows {
		r := &st.rows[i]
		r.at = len(st.values)
		for left := present; left != 0; left &= left - 1 {
			k := bits.TrailingZeros64(left)
			v, ok := known[k].next(i)
			if !ok {
				continue
			}
			r.mask |= 1 << k
			if st.set.valued&(1<<k) != 0 {
				st.values = append(st.values, v)
			}
		}
	}
	for left := present; left != 0; left &= left - 1 {
		if in := &known[bits.TrailingZeros64(left)].d; in.err != nil || len(in.b) > 0 {
			return false
		}
	}
	return true
}
