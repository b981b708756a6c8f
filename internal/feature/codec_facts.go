package feature

import (
	"encoding/binary"
	"slices"
)

// Facts are written as a table of positions, because an account's facts mostly come
// from one event, and registers that refer to it by index. A register whose tag this
// release does not know is kept like any other.

func (st *State) appendFacts(dst []byte) []byte {
	if len(st.facts) == 0 {
		return dst
	}
	dst, mark := open(dst, sectionFacts)
	dst = binary.AppendVarint(dst, st.latest)
	var buf [24]position
	table := buf[:0]
	for _, r := range st.facts {
		if !slices.Contains(table, r.pos) {
			table = append(table, r.pos)
		}
	}
	dst = appendPositions(dst, st.latest, table)
	for _, r := range st.facts {
		dst = append(dst, byte(r.tag))
		dst = binary.AppendUvarint(dst, uint64(slices.Index(table, r.pos)))
		dst = appendString(dst, r.key)
		dst = appendString(dst, r.val)
	}
	return closeSection(dst, mark)
}

func (st *State) readFacts(d *decoder) {
	base := d.varint()
	table := d.positions(base)
	text := string(d.b) // one allocation for all strings
	whole := len(d.b)
	str := func() string {
		b := d.bytes()
		end := whole - len(d.b)
		if d.err != nil {
			return ""
		}
		return text[end-len(b) : end]
	}
	if st.facts == nil {
		st.facts = make([]register, 0, 12)
	}
	for len(d.b) > 0 && d.err == nil {
		r := register{tag: factTag(d.byte())}
		n := d.uvarint()
		r.key, r.val = str(), str()
		if n >= uint64(len(table)) {
			d.fail()
			return
		}
		r.pos = table[n]
		if last := len(st.facts) - 1; last >= 0 && compareFacts(st.facts[last], r) >= 0 {
			d.fail()
			return
		}
		st.facts = append(st.facts, r)
	}
}

func appendString(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

// appendPositions writes the count, then for each position the distance from base and
// the key.
func appendPositions(dst []byte, base int64, list []position) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(list)))
	for _, p := range list {
		dst = binary.AppendVarint(dst, base-p.ms)
		dst = binary.LittleEndian.AppendUint32(dst, p.key)
	}
	return dst
}

func (d *decoder) positions(base int64) []position {
	n := d.count(5)
	list := make([]position, n)
	for i := range list {
		list[i] = position{ms: base - d.varint(), key: d.fixed32()}
	}
	return list
}

func (st *State) appendVoid(dst []byte) []byte {
	if len(st.void) == 0 && st.floor == (position{}) {
		return dst
	}
	dst, mark := open(dst, sectionVoid)
	dst = binary.AppendVarint(dst, st.latest)
	dst = appendPositions(dst, st.latest, st.void)
	if st.floor != (position{}) {
		dst = appendPositions(dst, st.latest, []position{st.floor})
	}
	return closeSection(dst, mark)
}

func (st *State) readVoid(d *decoder) {
	base := d.varint()
	st.void = d.positions(base)
	if !slices.IsSortedFunc(st.void, position.compare) {
		d.fail()
	}
	if len(d.b) > 0 && d.err == nil {
		if floor := d.positions(base); len(floor) == 1 {
			st.floor = floor[0]
		}
	}
}
