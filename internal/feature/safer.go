package feature

import (
	"cmp"
	"encoding/binary"
	"math"
	"strings"
)

// Two events of the same time may contradict each other about a fact: a platform may
// stamp an opt-in and an opt-out with the same second. Then the value that is safer for
// the player wins, in whatever order the two arrive. Between values that are equally
// safe, the event's key decides.
//
// safer compares two values of a fact: it is positive if a is safer, negative if b is,
// and 0 if neither is.
var safer = map[factTag]func(a, b string) int{
	factJurisdiction: equallySafe,     // two values exclude each other: see contradiction
	factBirthDate:    strings.Compare, // the later date is that of the younger player
	factBrand:        equallySafe,
	factCurrency:     equallySafe,
	factTier:         equallySafe,
	factTimeZone:     equallySafe,
	factConsent:      func(a, b string) int { return strings.Compare(b, a) }, // opted out ("0") beats opted in ("1")
	factExcluded:     func(a, b string) int { return cmp.Compare(endOf(a), endOf(b)) },
	factReinstated:   equallySafe, // an exclusion of the same time stays: see exclusions
	factLimit:        func(a, b string) int { return cmp.Compare(amountOf(b), amountOf(a)) },
	factReached:      equallySafe, // the limit stays reached if it is set at the same time: see Facts
	factIndicator:    func(a, b string) int { return cmp.Compare(strength[a], strength[b]) },
	factBonus:        equallySafe, // it has no value
	factGame:         equallySafe,
	factRecent:       equallySafe, // it has no value
	factFailed:       equallySafe,
	factPlayed:       equallySafe,
	factLicensee:     equallySafe,
	factAfford:       func(a, b string) int { return cmp.Compare(afforded[a], afforded[b]) },
	factOrigin:       equallySafe, // does not count unless its consent is from the same event: see Facts
	factBasis:        equallySafe,
	factGiven:        equallySafe, // as factOrigin
}

func equallySafe(_, _ string) int { return 0 }

// strength ranks indicators of harm. An unknown one counts as strong.
var strength = map[string]int{"none": -2, "low": -1, "strong": 0}

// afforded ranks the results of financial checks. An unknown one counts as vulnerable.
var afforded = map[string]int{"clear": -2, "pending": -1, "vulnerable": 0}

// endOf returns when an exclusion ends, in ms. One without an end is the safest.
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

// contradiction returns the value that replaces two values of one time which exclude
// each other and are equally safe. That is so for jurisdictions: a player with two has
// none that is known, so that the rules of all packs hold. For other facts ok is false.
func contradiction(tag factTag, a, b string) (val string, ok bool) {
	return "", tag == factJurisdiction && a != b
}

// settle replaces the register's value by another event's if that is later in event
// time, or equal in time and safer, or equal in both and of a larger key. It reports
// whether the register changed. The result does not depend on the order of events.
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
	if rank := safer[r.tag]; rank != nil { // nil: a fact of a newer release
		prefer = rank(val, r.val)
	}
	if prefer > 0 || prefer == 0 && later {
		r.pos, r.val = at, val
	}
}
