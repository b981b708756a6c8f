package player

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sort"
)

// ledger is the tests' state: the set of events applied, each with how often.
// It shows at once what was lost and what was applied twice.
type ledger struct{ applied map[uint64]uint32 }

func (l *ledger) total() (n int) {
	for _, times := range l.applied {
		n += int(times)
	}
	return n
}

type ledgerCodec struct{}

func (ledgerCodec) Reuse(_ *ledger, b []byte) (*ledger, error) {
	l := &ledger{applied: map[uint64]uint32{}}
	if len(b)%12 != 0 {
		return nil, errors.New("ledger: odd length")
	}
	for ; len(b) > 0; b = b[12:] {
		l.applied[binary.BigEndian.Uint64(b)] = binary.BigEndian.Uint32(b[8:])
	}
	return l, nil
}

func (ledgerCodec) Append(dst []byte, l *ledger) ([]byte, error) {
	keys := make([]uint64, 0, len(l.applied))
	for k := range l.applied {
		keys = append(keys, k)
	}
	sort.Slice(keys, func(a, b int) bool { return keys[a] < keys[b] })
	for _, k := range keys {
		dst = binary.BigEndian.AppendUint64(dst, k)
		dst = binary.BigEndian.AppendUint32(dst, l.applied[k])
	}
	return dst, nil
}

// note is the Op of an event: a decision is due on every third.
func note(key uint64) Op[ledger] {
	return Op[ledger]{Key: key, Fold: func(l *ledger, dup bool, due uint8) (Effects, error) {
		if dup {
			if l.applied[key] == 0 {
				return Effects{}, fmt.Errorf("event %d is called a duplicate but was never applied", key)
			}
			return Effects{}, nil
		}
		l.applied[key]++
		return Effects{Due: dueOf(key)}, nil
	}}
}

func dueOf(key uint64) uint8 {
	if key%3 == 0 {
		return uint8(key%7 + 1)
	}
	return 0
}
