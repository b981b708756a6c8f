package feature

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
)

// A stored state is one version byte, then sections of tag (varint), length (varint)
// and content. A reader keeps the sections, slots, facts and timeline columns that it
// does not know and writes them back, so that two releases can serve the same players
// during a deploy. Times are milliseconds relative to a base time in the section;
// integers are zigzag varints.

const codecVersion = 1

// Section tags. Stored: never renumber, never reuse.
const (
	sectionHead     = 1 // latest, applied
	sectionFacts    = 2
	sectionSlots    = 3 // base time, then slots; may occur several times
	sectionTimeline = 4
	sectionVoid     = 5 // rolled-back rounds that may still come; floor
	sectionNanos    = 6 // nanoseconds of positions in other sections
)

// ErrState means that stored state can't be read.
var ErrState = errors.New("feature: state is not readable")

// unknown holds what a newer release stored, to be written back.
type unknown struct {
	sections []section
	slots    []slotGroup
	columns  []column
}

type section struct {
	tag  uint64
	body []byte
}

// slotGroup holds slots that this release does not know, with their base time.
type slotGroup struct {
	base int64
	raw  []byte // hash, length, content; repeated
}

// Decode reads a state. Empty input gives a new state. It keeps no reference to b.
// Errors wrap [ErrState].
func (s *Set) Decode(b []byte) (*State, error) {
	st := s.newState()
	return st, st.decode(b)
}

// Reuse is like Decode, but reuses the memory of st, which must not be used any more.
// st may be nil.
func (s *Set) Reuse(st *State, b []byte) (*State, error) {
	if st == nil || st.set != s {
		return s.Decode(b)
	}
	clear(st.cells)
	clear(st.head)
	*st = State{set: s, cells: st.cells, head: st.head, mark: st.mark, facts: st.facts[:0], rows: st.rows[:0], values: st.values[:0]}
	return st, st.decode(b)
}

func (st *State) decode(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	d := &decoder{b: b}
	var nanos []position
	if v := d.byte(); v != codecVersion {
		return fmt.Errorf("%w: version %d, this release reads %d", ErrState, v, codecVersion)
	}
	for len(d.b) > 0 && d.err == nil {
		tag, body := d.uvarint(), d.bytes()
		if d.err != nil {
			break
		}
		in := &decoder{b: body}
		switch tag {
		case sectionHead:
			st.latest, st.applied = in.varint(), in.uvarint()
		case sectionFacts:
			st.readFacts(in)
		case sectionSlots:
			st.readSlots(in)
		case sectionTimeline:
			st.readTimeline(in)
		case sectionVoid:
			st.readVoid(in)
		case sectionNanos:
			nanos = in.nanos()
		default:
			st.unknown.sections = append(st.unknown.sections, section{tag, slices.Clone(body)})
		}
		if in.err != nil {
			d.err = in.err
		}
	}
	st.restoreNanos(nanos)
	return d.err
}

// Append appends the state to dst. It removes values that can no longer count, from st
// too.
func (s *Set) Append(dst []byte, st *State) ([]byte, error) {
	dst = append(dst, codecVersion)
	dst, mark := open(dst, sectionHead)
	dst = binary.AppendVarint(dst, st.latest)
	dst = binary.AppendUvarint(dst, st.applied)
	dst = closeSection(dst, mark)
	dst = st.appendFacts(dst)
	dst = st.appendSlots(dst)
	dst = st.appendTimeline(dst)
	dst = st.appendVoid(dst)
	dst = st.appendNanos(dst)
	for _, u := range st.unknown.sections {
		dst = binary.AppendUvarint(dst, u.tag)
		dst = binary.AppendUvarint(dst, uint64(len(u.body)))
		dst = append(dst, u.body...)
	}
	return dst, nil
}

// open begins a section, and closeSection ends it and writes the length in front. Two
// bytes are reserved for the length, so that most sections need not be moved.
func open(dst []byte, tag uint64) ([]byte, int) {
	dst = binary.AppendUvarint(dst, tag)
	return append(dst, 0, 0), len(dst)
}

func closeSection(dst []byte, mark int) []byte {
	n := len(dst) - mark - 2
	if n < 1<<14 {
		dst[mark], dst[mark+1] = byte(n)|0x80, byte(n>>7)
		return dst
	}
	length := binary.AppendUvarint(nil, uint64(n))
	return slices.Replace(dst, mark, mark+2, length...)
}

// closeShort writes the length of a part of mostly less than 128 bytes, for which one
// byte is reserved at dst[at].
func closeShort(dst []byte, at int) []byte {
	n := len(dst) - at - 1
	if n < 0x80 {
		dst[at] = byte(n)
		return dst
	}
	return slices.Replace(dst, at, at+1, binary.AppendUvarint(nil, uint64(n))...)
}

// decoder reads primitives. After the first failure err is set and it returns zeroes.
type decoder struct {
	b     []byte
	err   error
	spare []member
}

func (d *decoder) fail() {
	if d.err == nil {
		d.err = fmt.Errorf("%w: truncated or corrupt", ErrState)
	}
	d.b = nil
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail()
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *decoder) uvarint() uint64 {
	if len(d.b) > 0 && d.b[0] < 0x80 {
		v := d.b[0]
		d.b = d.b[1:]
		return uint64(v)
	}
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	u := d.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

func (d *decoder) fixed32() uint32 {
	if len(d.b) < 4 {
		d.fail()
		return 0
	}
	v := binary.LittleEndian.Uint32(d.b)
	d.b = d.b[4:]
	return v
}

func (d *decoder) bytes() []byte {
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		d.fail()
		return nil
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

// count reads a length whose items take at least size bytes each.
func (d *decoder) count(size int) int {
	n := d.uvarint()
	if n > uint64(len(d.b)/size) {
		d.fail()
		return 0
	}
	return int(n)
}

// float reads what appendFloat wrote.
func (d *decoder) float() float64 {
	if len(d.b) > 0 && d.b[0] == 1 {
		if len(d.b) < 9 {
			d.fail()
			return 0
		}
		v := math.Float64frombits(binary.LittleEndian.Uint64(d.b[1:]))
		d.b = d.b[9:]
		return v
	}
	u := d.uvarint()
	if u&1 != 0 {
		d.fail()
	}
	u >>= 1
	return float64(int64(u>>1) ^ -int64(u&1))
}

// appendFloat writes whole numbers short (an even varint), others as 1 and 8 bytes.
func appendFloat(dst []byte, x float64) []byte {
	if n := int64(x); float64(n) == x && n > -1<<31 && n < 1<<31 && math.Float64bits(x) != 1<<63 {
		return binary.AppendUvarint(dst, (uint64(n)<<1^uint64(n>>63))<<1)
	}
	dst = append(dst, 1)
	return binary.LittleEndian.AppendUint64(dst, math.Float64bits(x))
}
