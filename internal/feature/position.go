package feature

import (
	"cmp"
	"encoding/binary"
	"slices"
	"time"
)

// position orders a player's events by time, to the nanosecond, then by key.
type position struct {
	ms  int64  // since 1970
	key uint32 // of the event
	ns  uint32 // beyond ms: 0 to 999,999
}

// positionOf returns the position of an event.
func positionOf(at time.Time, key uint64) position {
	return position{ms: at.UnixMilli(), ns: uint32(at.Nanosecond() % 1e6), key: uint32(key)}
}

func (p position) before(q position) bool { return p.compare(q) < 0 }

func (p position) compare(q position) int {
	if c := p.compareTime(q); c != 0 {
		return c
	}
	return cmp.Compare(p.key, q.key)
}

// compareTime ignores the keys: it is 0 for events of the same time.
func (p position) compareTime(q position) int {
	if p.ms != q.ms {
		return cmp.Compare(p.ms, q.ms)
	}
	return cmp.Compare(p.ns, q.ns)
}

// compareStored is the order of positions in stored state. It ignores nanoseconds,
// which older releases don't know.
func (p position) compareStored(q position) int {
	if p.ms != q.ms {
		return cmp.Compare(p.ms, q.ms)
	}
	return cmp.Compare(p.key, q.key)
}

func (p position) time() time.Time { return time.UnixMilli(p.ms).Add(time.Duration(p.ns)).UTC() }

// eachRegister calls f with every position outside the timeline that is stored without
// its nanoseconds.
func (st *State) eachRegister(f func(ms int64, key uint32, ns *uint32)) {
	for i := range st.facts {
		p := &st.facts[i].pos
		f(p.ms, p.key, &p.ns)
	}
	for n, sl := range st.set.slots {
		c := &st.cells[n]
		if !c.on || sl.agg != opLast && sl.agg != opSince && sl.agg != opRegister {
			continue
		}
		f(c.t, c.k, &c.tNs)
		if sl.agg == opRegister {
			f(c.act, uint32(c.i), &c.actNs)
		}
	}
}

// appendNanos writes the nanoseconds of the registers' positions, if they have any. An
// entry refers to its register by time and key, so that it matches none any more if an
// older release has replaced the register.
func (st *State) appendNanos(dst []byte) []byte {
	var buf [32]position
	list := buf[:0]
	st.eachRegister(func(ms int64, key uint32, ns *uint32) {
		if *ns != 0 {
			list = append(list, position{ms: ms, key: key, ns: *ns})
		}
	})
	if len(list) == 0 {
		return dst
	}
	slices.SortFunc(list, position.compareStored)
	list = slices.Compact(list)
	dst, mark := open(dst, sectionNanos)
	dst = binary.AppendVarint(dst, st.latest)
	dst = appendPositions(dst, st.latest, list)
	for _, p := range list {
		dst = binary.AppendVarint(dst, packNanos(p.ns))
	}
	return closeSection(dst, mark)
}

func (d *decoder) nanos() []position {
	list := d.positions(d.varint())
	for i := range list {
		list[i].ns = unpackNanos(d.varint())
	}
	if !slices.IsSortedFunc(list, position.compareStored) {
		d.fail()
	}
	return list
}

// restoreNanos gives the registers the nanoseconds that were stored.
func (st *State) restoreNanos(list []position) {
	if len(list) == 0 {
		return
	}
	st.eachRegister(func(ms int64, key uint32, ns *uint32) {
		if n, found := slices.BinarySearchFunc(list, position{ms: ms, key: key}, position.compareStored); found {
			*ns = list[n].ns
		}
	})
}

// packNanos encodes whole microseconds, which most clocks give, as small numbers.
func packNanos(ns uint32) int64 {
	if ns%1000 == 0 {
		return int64(ns/1000) << 1
	}
	return int64(ns)<<1 | 1
}

func unpackNanos(v int64) uint32 {
	ns := v >> 1
	if v&1 == 0 {
		ns *= 1000
	}
	if ns < 0 || ns >= 1e6 {
		return 0
	}
	return uint32(ns)
}
