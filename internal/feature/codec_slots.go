package feature

import "encoding/binary"

// Bits of a slot's first byte say which members follow. So a slot can be read without
// knowing its aggregation.
const (
	hasAct = 1 << iota
	hasT
	hasK
	hasI
	hasJ
	hasF
	hasG
	hasSet
)

// Kinds of a set's values.
const (
	setInts   = 0
	setFloats = 1
	setTimes  = 2
)

func (sl *slot) setKind() byte {
	switch {
	case sl.agg == opDistinct:
		return setTimes
	case sl.float || sl.ordered:
		return setFloats
	}
	return setInts
}

func (st *State) appendSlots(dst []byte) []byte {
	dst, mark := open(dst, sectionSlots)
	dst = binary.AppendVarint(dst, st.latest)
	horizon := st.set.lateness + st.set.rollback
	for n := range st.cells {
		c, sl := &st.cells[n], st.set.slots[n]
		if !c.on {
			continue
		}
		if sl.prune(c, st.latest, horizon); !c.on {
			if sl.ordered {
				st.stale(0)
			}
			continue
		}
		dst = binary.LittleEndian.AppendUint32(dst, sl.hash)
		at := len(dst)
		dst = append(dst, 0)
		dst = c.append(dst, st.latest, sl.setKind())
		dst = closeShort(dst, at)
	}
	dst = closeSection(dst, mark)
	for _, g := range st.unknown.slots {
		dst, mark = open(dst, sectionSlots)
		dst = binary.AppendVarint(dst, g.base)
		dst = append(dst, g.raw...)
		dst = closeSection(dst, mark)
	}
	return dst
}

func (c *cell) append(dst []byte, base int64, set byte) []byte {
	at := len(dst)
	dst = append(dst, 0)
	var has byte
	if c.act != 0 {
		has |= hasAct
		dst = binary.AppendVarint(dst, base-c.act)
	}
	if c.t != 0 {
		has |= hasT
		dst = binary.AppendVarint(dst, base-c.t)
	}
	if c.k != 0 {
		has |= hasK
		dst = binary.LittleEndian.AppendUint32(dst, c.k)
	}
	if c.i != 0 {
		has |= hasI
		dst = binary.AppendVarint(dst, c.i)
	}
	if c.j != 0 {
		has |= hasJ
		dst = binary.AppendVarint(dst, c.j)
	}
	if c.f != 0 {
		has |= hasF
		dst = appendFloat(dst, c.f)
	}
	if c.g != 0 {
		has |= hasG
		dst = appendFloat(dst, c.g)
	}
	if len(c.set) > 0 {
		has |= hasSet
		dst = appendSet(dst, c.set, base, set)
	}
	dst[at] = has
	return dst
}

func appendSet(dst []byte, list []member, base int64, kind byte) []byte {
	dst = append(dst, kind)
	dst = binary.AppendUvarint(dst, uint64(len(list)))
	last := int64(0)
	for _, m := range list {
		dst = binary.AppendVarint(dst, m.id-last)
		last = m.id
		switch kind {
		case setInts:
			dst = binary.AppendVarint(dst, m.v)
		case setFloats:
			dst = appendFloat(dst, value(m.v).float())
		default:
			dst = binary.AppendVarint(dst, base-m.v)
		}
	}
	return dst
}

func (st *State) readSlots(d *decoder) {
	base := d.varint()
	next := 0 // slots are in the order of the set that wrote them, which is mostly this one
	var foreign []byte
	var in decoder
	for len(d.b) > 0 && d.err == nil {
		start := d.b
		hash := d.fixed32()
		body := d.bytes()
		for next < len(st.set.slots) && st.set.slots[next].hash != hash {
			next++
		}
		if next == len(st.set.slots) {
			n, known := st.set.bySlot[hash]
			if !known {
				next = 0
				foreign = append(foreign, start[:len(start)-len(d.b)]...)
				continue
			}
			next = n
		}
		in.b, in.err = body, nil
		in.cell(&st.cells[next], base, st.set.slots[next].setKind())
		if in.err != nil || len(in.b) > 0 {
			d.fail()
			return
		}
		next++
	}
	if len(foreign) > 0 {
		st.unknown.slots = append(st.unknown.slots, slotGroup{base, foreign})
	}
}

func (d *decoder) cell(c *cell, base int64, kind byte) {
	has := d.byte()
	c.on = true
	if has&hasAct != 0 {
		c.act = base - d.varint()
	}
	if has&hasT != 0 {
		c.t = base - d.varint()
	}
	if has&hasK != 0 {
		c.k = d.fixed32()
	}
	if has&hasI != 0 {
		c.i = d.varint()
	}
	if has&hasJ != 0 {
		c.j = d.varint()
	}
	if has&hasF != 0 {
		c.f = d.float()
	}
	if has&hasG != 0 {
		c.g = d.float()
	}
	if has&hasSet == 0 {
		return
	}
	if d.byte() != kind {
		d.fail()
	}
	n := d.count(2)
	c.set = d.members(n)
	last := int64(0)
	for i := range c.set {
		m := &c.set[i]
		m.id = last + d.varint()
		if i > 0 && m.id <= last {
			d.fail() // sets are always written sorted
			return
		}
		last = m.id
		switch kind {
		case setInts:
			m.v = d.varint()
		case setFloats:
			m.v = int64(floatValue(d.float()))
		default:
			m.v = base - d.varint()
		}
	}
}

// members returns a set of n members, allocated together with other sets. Its capacity
// is n+1, because the next event often adds one.
func (d *decoder) members(n int) []member {
	if len(d.spare) < n+1 {
		d.spare = make([]member, max(24, n+1))
	}
	set := d.spare[: n : n+1]
	d.spare = d.spare[n+1:]
	return set
}
