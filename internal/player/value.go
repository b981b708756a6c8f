package player

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"
)

// The value of a player's key:
//
//	8 bytes  version
//	1 byte   layout: 1, or 2 for a player who was erased
//	16 bytes layout 2 only: the time of the erasure, and until when it counts, ms
//	2 bytes  n, the number of remembered ids
//	n × 12   ids in order of arrival: 8 bytes key, 3 bytes minute of arrival
//	         since 2020-01-01 UTC, 1 byte flags (Effects.Due)
//	rest     state, as the Codec wrote it
//
// All integers are big-endian. Other scripts of the slot may compare the version (GETRANGE
// key 0 7); nothing else outside this file depends on the layout. Before a release changes
// it, an earlier release must be able to read both layouts.
const (
	layout       = 1
	layoutErased = 2
	headSize     = 11
	markSize     = 16
	idSize       = 12
	maxIDs       = 1<<16 - 1
)

// epoch is minute 0 of the duplicate memory; 3 bytes last until 2051.
var epoch = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

// minuteOf returns t in the duplicate memory's unit. It is never negative.
func minuteOf(t time.Time) uint32 {
	m := t.Sub(epoch) / time.Minute
	return uint32(max(0, min(m, 1<<24-1)))
}

// value is a parsed value.
type value struct {
	version Version
	erased  mark
	ids     []byte // a copy
	state   []byte // points into what was parsed
}

// mark is what is left of an erased player. Events up to at (ms) do not bring the player
// back; the mark counts until until (ms). The zero mark has no effect.
type mark struct{ at, until int64 }

// time returns when the player was erased, or zero for the zero mark.
func (m mark) time() time.Time {
	if m == (mark{}) {
		return time.Time{}
	}
	return time.UnixMilli(m.at).UTC()
}

// nobody reports whether there is no such player: the value is empty or only a mark.
func (v *value) nobody() bool { return binary.BigEndian.Uint32(v.version[:]) == 0 }

// parseValue parses a player's value. Empty input means that there is no such player.
func parseValue(b []byte) (value, error) {
	if len(b) == 0 {
		return value{}, nil
	}
	if len(b) < headSize {
		return value{}, fmt.Errorf("%w: %d bytes", ErrCorrupt, len(b))
	}
	v, head := value{version: Version(b[:8])}, headSize
	switch b[8] {
	case layout:
	case layoutErased:
		if head += markSize; len(b) < head {
			return value{}, fmt.Errorf("%w: %d bytes", ErrCorrupt, len(b))
		}
		v.erased = mark{int64(binary.BigEndian.Uint64(b[9:])), int64(binary.BigEndian.Uint64(b[17:]))}
	default:
		return value{}, fmt.Errorf("%w: %d", ErrLayout, b[8])
	}
	end := head + idSize*int(binary.BigEndian.Uint16(b[head-2:]))
	if len(b) < end {
		return value{}, fmt.Errorf("%w: %d bytes, ids need %d", ErrCorrupt, len(b), end)
	}
	v.ids, v.state = append([]byte(nil), b[head:end]...), b[end:]
	return v, nil
}

// ParseValue parses the value of a player's key ([StateKey]) into version and state. The
// zero Version means that there is no such player: the value is empty, or only the mark of
// an erasure.
func ParseValue(b []byte) (Version, []byte, error) {
	v, err := parseValue(b)
	if v.nobody() {
		return Version{}, nil, err
	}
	return v.version, v.state, err
}

// appendHead appends everything of a value before the state.
func appendHead(dst []byte, v Version, m mark, ids []byte) []byte {
	dst = append(dst, v[:]...)
	if m == (mark{}) {
		dst = append(dst, layout)
	} else {
		dst = binary.BigEndian.AppendUint64(append(dst, layoutErased), uint64(m.at))
		dst = binary.BigEndian.AppendUint64(dst, uint64(m.until))
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(ids)/idSize))
	return append(dst, ids...)
}

// findID looks up an event's key in the duplicate memory.
func findID(ids []byte, key uint64) (due uint8, ok bool) {
	for i := len(ids) - idSize; i >= 0; i -= idSize { // most redeliveries are of recent events
		if binary.BigEndian.Uint64(ids[i:]) == key {
			return ids[i+11], true
		}
	}
	return 0, false
}

// appendID adds an entry to the duplicate memory.
func appendID(ids []byte, key uint64, minute uint32, due uint8) []byte {
	ids = binary.BigEndian.AppendUint64(ids, key)
	return append(ids, byte(minute>>16), byte(minute>>8), byte(minute), due)
}

// arrived returns the minute in which the first of ids arrived.
func arrived(ids []byte) uint32 { return uint32(ids[8])<<16 | uint32(ids[9])<<8 | uint32(ids[10]) }

// trimIDs drops the oldest ids: those beyond most, and those from before oldest. The clocks
// of instances differ a little, so that the minutes need not be in order; an id after a
// younger one stays until that one goes.
func trimIDs(ids []byte, most int, oldest uint32) []byte {
	drop := max(0, len(ids)-most*idSize)
	for drop < len(ids) {
		if arrived(ids[drop:]) >= oldest {
			break
		}
		drop += idSize
	}
	if drop == 0 {
		return ids
	}
	return append(ids[:0], ids[drop:]...)
}

// next returns a version that follows v and differs from every other writer's choice.
func (v Version) next() (n Version) {
	binary.BigEndian.PutUint32(n[:4], max(1, binary.BigEndian.Uint32(v[:4])+1))
	binary.BigEndian.PutUint32(n[4:], rand.Uint32())
	return n
}

// markVersion returns a new version for the mark of an erased player.
func markVersion() (n Version) {
	binary.BigEndian.PutUint32(n[4:], max(1, rand.Uint32()))
	return n
}

// bytes returns the version as it is in Redis: empty if there is no such player.
func (v *Version) bytes() []byte {
	if *v == (Version{}) {
		return nil
	}
	return v[:]
}
