package learn

import (
	"math"
	"time"
)

// Delays is a histogram of the time from a decision to its outcome. Part i begins at
// 2^(i/4) − 1 seconds.
type Delays [80]int64

const (
	// PendingSlots is the number of slots in a window.
	PendingSlots = 24
	// delayLeast is how many outcomes are needed before their delays are used.
	delayLeast = 50
)

func delayScale(d time.Duration) float64 { return 4 * math.Log2(1+max(0, d.Seconds())) }

// DelayPart returns the part of Delays in which a delay falls.
func DelayPart(d time.Duration) int { return min(int(delayScale(d)), len(Delays{})-1) }

// Slot returns the number of the slot in which a decision was made.
func (s *Spec) Slot(at time.Time) int64 { return at.Unix() / int64(s.SlotLength().Seconds()) }

// SlotLength returns the length of a slot, in whole seconds.
func (s *Spec) SlotLength() time.Duration {
	return max(time.Second, (time.Duration(s.Window) / PendingSlots).Truncate(time.Second))
}

// By returns the share of all outcomes that arrive by that age of the decision, or 1 if too
// few are known.
func (d *Delays) By(age time.Duration) float64 {
	var all int64
	for _, n := range d {
		all += n
	}
	if all < delayLeast {
		return 1
	}
	at := delayScale(age)
	whole := min(int(at), len(d)-1)
	var arrived float64
	for _, n := range d[:whole] {
		arrived += float64(n)
	}
	arrived += min(1, at-float64(whole)) * float64(d[whole])
	return arrived / float64(all)
}

// Pending holds the sums of decisions of a range of ages. Each counts as having no outcome
// yet ([Spec.Row] of rank 1).
type Pending struct {
	Youngest, Oldest time.Duration
	Sums             *Sums
}

// missing returns the share of the outcomes that are still to come, for decisions spread
// evenly over the ages.
func (p *Pending) missing(d *Delays, window time.Duration) float64 {
	const points = 16
	var arrived float64
	for i := range points {
		age := p.Youngest + time.Duration((float64(i)+0.5)/points*float64(p.Oldest-p.Youngest))
		if age >= window {
			arrived++
			continue
		}
		arrived += d.By(age)
	}
	return 1 - arrived/points
}

// Mature corrects sums for decisions whose outcomes may still come: each counts only for
// the share of outcomes that usually have arrived at its age (Vernade, Cappé and Perchet
// 2017). Otherwise each would count as refused from the moment it is made.
func (s *Spec) Mature(sums *Sums, pending []Pending, d *Delays) *Sums {
	out := s.NewSums()
	out.Add(sums)
	for _, p := range pending {
		missing := p.missing(d, time.Duration(s.Window))
		out.add(p.Sums, func(v int64) int64 { return -int64(math.Round(missing * float64(v))) })
	}
	return out
}
