package profile

import "slices"

// A player's duplicate memory has 8 bits for each event: which score_when
// conditions asked for a decision. Bit i stands for the i-th condition in
// features.yaml, the last bit for all further ones. After a deploy that
// reorders conditions a redelivered event may name another one: its id, and
// that a decision is due, never change.
const lastBit = 7

// dueBits packs the names of conditions; none are no bits.
func dueBits(conditions, due []string) (bits uint8) {
	for _, name := range due {
		i := slices.Index(conditions, name)
		if i < 0 || i > lastBit {
			i = lastBit
		}
		bits |= 1 << i
	}
	return bits
}

// dueNames unpacks bits.
func dueNames(conditions []string, bits uint8) []string {
	var names []string
	for i, name := range conditions {
		if bits&(1<<min(i, lastBit)) != 0 {
			names = append(names, name)
		}
	}
	return names
}
