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
// All integers are big-endian. commit.lua knows this layout too.
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

// value is a parsed value; ids and state point into what was parsed.
type value struct {
	version Version
	ids     []byte
	state   []byte
}

// parseValue takes a player's value apart; no bytes mean no such player.
func parseValue(b string) (value, error) {
	if b == "" {
		return value{}, nil
	}
	if len(b) < headSize {
		return value{}, fmt.Errorf("%w: %d bytes", ErrCorrupt, len(b))
	}
	if b[8] != layout {
		return value{}, fmt.Errorf("%w: %d", ErrLayout, b[8])
	}
	end := headSize + idSize*(int(b[9])<<8|int(b[10]))
	if len(b) < end {
		return value{}, fmt.Errorf("%w: %d bytes, ids need %d", ErrCorrupt, len(b), end)
	}
	v := value{ids: []byte(b[headSize:end]), state: []byte(b[end:])}
	copy(v.version[:], b)
	return v, nil
}

// find looks an event's key up in the duplicate memory.
func (v *value) find(key uint64) (due uint8, ok bool) {
	for i := 0; i < len(v.ids); i += idSize {
		if binary.BigEndian.Uint64(v.ids[i:]) == key {
			return v.ids[i+11], true
		}
	}
	return 0, false
}

// appendID adds an entry of the duplicate memory to dst.
func appendID(dst []byte, key uint64, minute uint32, due uint8) []byte {
	dst = binary.BigEndian.AppendUint64(dst, key)
	return append(dst, byte(minute>>16), byte(minute>>8), byte(minute), due)
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
