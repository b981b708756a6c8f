package profile

import "slices"

// A player's duplicate memory has one byte for each event: 0, or 1 + the index of the
// score_when condition that asked for a decision. If several did, it is the first in
// features.yaml; beyond 254 conditions it names none. After a deploy that reorders the
// conditions, a redelivered event may name another one, but its id stays the same and
// so does whether a decision is due.
const noneInParticular = 255

// dueByte packs the names of the conditions that asked for a decision.
func dueByte(conditions, due []string) uint8 {
	first := len(conditions)
	for _, name := range due {
		if i := slices.Index(conditions, name); i >= 0 {
			first = min(first, i)
		}
	}
	switch {
	case len(due) == 0:
		return 0
	case first < len(conditions) && first < noneInParticular-1:
		return uint8(first + 1)
	}
	return noneInParticular
}

// dueNames unpacks what dueByte packed.
func dueNames(conditions []string, b uint8) []string {
	if b == 0 || int(b) > len(conditions) || b == noneInParticular {
		return []string{}
	}
	return conditions[b-1 : b : b]
}
