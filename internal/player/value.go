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
//	1 byte   layout, 1
//	2 bytes  n, how many ids are remembered
//	n × 12   ids in order of arrival: 8 bytes key, 3 bytes minute of arrival
//	         since 2020-01-01 UTC, 1 byte flags (Effects.Due)
//	rest     state, as the Codec wrote it
//
// All integers are big-endian. Other scripts of the slot may compare the
// version (GETRANGE key 0 7); nothing else outside this file knows the layout.
// A release that changes it must follow one that reads both.
const (
	layout   = 1
	headSize = 11
	idSize   = 12
	maxIDs   = 1<<16 - 1
)

// epoch is minute 0 of the duplicate memory; 3 bytes last until 2051.
var epoch = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

// minuteOf is t in the duplicate memory's unit, never negative.
func minuteOf(t time.Time) uint32 {
	m := t.Sub(epoch) / time.Minute
	return uint32(max(0, min(m, 1<<24-1)))
}

// value is a parsed value.
type value struct {
	version Version
	ids     []byte // a copy
	state   []byte // points into what was parsed
}

// parseValue takes a player's value apart; no bytes mean no such player.
func parseValue(b []byte) (value, error) {
	if len(b) == 0 {
		return value{}, nil
	}
	if len(b) < headSize {
		return value{}, fmt.Errorf("%w: %d bytes", ErrCorrupt, len(b))
	}
	if b[8] != layout {
		return value{}, fmt.Errorf("%w: %d", ErrLayout, b[8])
	}
	end := headSize + idSize*int(binary.BigEndian.Uint16(b[9:]))
	if len(b) < end {
		return value{}, fmt.Errorf("%w: %d bytes, ids need %d", ErrCorrupt, len(b), end)
	}
	return value{Version(b[:8]), append([]byte(nil), b[headSize:end]...), b[end:]}, nil
}

// appendHead begins a value: the state follows.
func appendHead(dst []byte, v Version, ids []byte) []byte {
	dst = append(append(dst, v[:]...), layout)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(ids)/idSize))
	return append(dst, ids...)
}

// findID looks an event's key up in the duplicate memory.
func findID(ids []byte, key uint64) (due uint8, ok bool) {
	for i := len(ids) - idSize; i >= 0; i -= idSize { // redeliveries are mostly of late
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

// trimIDs forgets the oldest ids: all but most, and those from before oldest.
// Clocks of different instances differ a little, so that minutes need not be
// in order; an id behind a younger one stays until that one goes.
func trimIDs(ids []byte, most int, oldest uint32) []byte {
	drop := max(0, len(ids)-most*idSize)
	for drop < len(ids) {
		minute := uint32(ids[drop+8])<<16 | uint32(ids[drop+9])<<8 | uint32(ids[drop+10])
		if minute >= oldest {
			break
		}
		drop += idSize
	}
	if drop == 0 {
		return ids
	}
	return append(ids[:0], ids[drop:]...)
}

// next is a version that follows v and that no other writer can have chosen.
func (v Version) next() (n Version) {
	binary.BigEndian.PutUint32(n[:4], binary.BigEndian.Uint32(v[:4])+1)
	binary.BigEndian.PutUint32(n[4:], rand.Uint32())
	if n == (Version{}) {
		n[7] = 1
	}
	return n
}

// bytes is the version as Redis has it: none for no such player.
func (v *Version) bytes() []byte {
	if *v == (Version{}) {
		return nil
	}
	return v[:]
}
