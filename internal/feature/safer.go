package feature

import (
	"cmp"
	"encoding/binary"
	"math"
	"strings"
)

// Two events of the same time may say different things of one fact: a platform
// stamps an opt-in and an opt-out with the same second. Then what is safer for
// the player counts, in whatever order the two come. Only between values that
// are equally safe does the event's key decide.
//
// safer says of each fact which value that is. It is positive where a is safer
// than b, negative where b is, 0 where neither is.
var safer = map[factTag]func(a, b string) int{
	factJurisdiction: equallySafe,     // two contradict each other: see contradiction
	factBirthDate:    strings.Compare, // the later date is that of the younger player
	factBrand:        equallySafe,
	factCurrency:     equallySafe,
	factTier:         equallySafe,
	factTimeZone:     equallySafe,
	factConsent:      func(a, b string) int { return strings.Compare(b, a) }, // opted out ("0") beats opted in ("1")
	factExcluded:     func(a, b string) int { return cmp.Compare(endOf(a), endOf(b)) },
	factReinstated:   equallySafe, // and an exclusion of the same time stays: see exclusions
	factLimit:        func(a, b string) int { return cmp.Compare(amountOf(b), amountOf(a)) },
	factReached:      equallySafe, // and stays reached if the limit is set at the same time: see Facts
	factIndicator:    func(a, b string) int { return cmp.Compare(strength[a], strength[b]) },
	factBonus:        equallySafe, // it has no value
	factGame:         equallySafe,
	factRecent:       equallySafe, // it has no value
	factFailed:       equallySafe,
	factPlayed:       equallySafe,
	factLicensee:     equallySafe,
	factAfford:       func(a, b string) int { return cmp.Compare(afforded[a], afforded[b]) },
	factOrigin:       equallySafe, // of another event than its consent, it does not count: see Facts
	factBasis:        equallySafe,
	factGiven:        equallySafe, // as factOrigin
}

func equallySafe(_, _ string) int { return 0 }

// strength of an indicator of harm; an unknown one counts as strong.
var strength = map[string]int{"none": -2, "low": -1, "strong": 0}

// afforded ranks how a financial check ended; an unknown end counts as vulnerable.
var afforded = map[string]int{"clear": -2, "pending": -1, "vulnerable": 0}

// endOf is when an exclusion ends, in ms: one without an end is the safest.
func endOf(val string) int64 {
	if ms, n := binary.Varint([]byte(val)); n > 0 {
		return ms
	}
	return math.MaxInt64
}

func amountOf(val string) int64 {
	amount, _ := binary.Varint([]byte(val))
	return amount
}

// contradiction is what counts where two values of one time exclude each other
// and neither is safer than the other; ok is false where there is no such value.
// A player who is under two laws at once is under none that is known, so that
// every pack's rules hold.
func contradiction(tag factTag, a, b string) (val string, ok bool) {
	return "", tag == factJurisdiction && a != b
}

// settle decides between the register and another event's value: whichever is
// later in event time, then safer, then of the larger key. It reports whether
// the register changed. Any order of events ends with the same register.
func (r *register) settle(at position, val string) (changed bool) {
	old := *r
	switch c := at.compareTime(r.pos); {
	case c > 0:
		r.pos, r.val = at, val
	case c < 0:
		return false
	default:
		r.settleTie(at, val)
	}
	return *r != old
}

func (r *register) settleTie(at position, val string) {
	later := r.pos.key < at.key
	if none, ok := contradiction(r.tag, r.val, val); ok {
		r.val = none
		if later {
			r.pos = at
		}
		return
	}
	prefer := 0
	if rank := safer[r.tag]; rank != nil { // nil: a newer release's fact
		prefer = rank(val, r.val)
	}
	if prefer > 0 || prefer == 0 && later {
		r.pos, r.val = at, val
	}
}
