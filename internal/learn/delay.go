package learn

import (
	"math"
	"time"
)

// Delays counts how long after their decisions outcomes came: part i is from
// 2^(i/4) − 1 seconds on.
type Delays [80]int64

const (
	// PendingSlots is how many parts of the window decisions are kept apart by.
	PendingSlots = 24
	// delayLeast is how many outcomes must have come before anything is said of their delays.
	delayLeast = 50
)

func delayScale(d time.Duration) float64 { return 4 * math.Log2(1+max(0, d.Seconds())) }

// DelayPart is the part that a delay falls in.
func DelayPart(d time.Duration) int { return min(int(delayScale(d)), len(Delays{})-1) }

// Slot is the part of the window's length that a decision was made in.
func (s *Spec) Slot(at time.Time) int64 { return at.Unix() / int64(s.SlotLength().Seconds()) }

// SlotLength is a part of the window, in whole seconds.
func (s *Spec) SlotLength() time.Duration {
	return max(time.Second, (time.Duration(s.Window) / PendingSlots).Truncate(time.Second))
}

// By is the share of the outcomes that ever come that have come when a decision is
// so old; 1 where too little is known of them.
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
	var come float64
	for _, n := range d[:whole] {
		come += float64(n)
	}
	come += min(1, at-float64(whole)) * float64(d[whole])
	return come / float64(all)
}

// Pending is the sums of decisions of some ages, each with the reward of none
// ([Spec.Row] of rank 1).
type Pending struct {
	Youngest, Oldest time.Duration
	Sums             *Sums
}

// still is the share of the outcomes that are still to come, of decisions spread
// evenly over the ages.
func (p *Pending) still(d *Delays, window time.Duration) float64 {
	const points = 16
	var come float64
	for i := range points {
		age := p.Youngest + time.Duration((float64(i)+0.5)/points*float64(p.Oldest-p.Youngest))
		if age >= window {
			come++
			continue
		}
		come += d.By(age)
	}
	return 1 - come/points
}

// Mature is what sums say where decisions whose outcomes may still come count only
// for the share of outcomes that has come at their age (Vernade, Cappé and Perchet
// 2017): else each would count as refused from the moment it is made.
func (s *Spec) Mature(sums *Sums, pending []Pending, d *Delays) *Sums {
	out := s.NewSums()
	out.Add(sums)
	for _, p := range pending {
		still := p.still(d, time.Duration(s.Window))
		take := func(v int64) int64 { return int64(math.Round(still * float64(v))) }
		out.N -= take(p.Sums.N)
		out.YY -= take(p.Sums.YY)
		for i, v := range p.Sums.XX {
			out.XX[i] -= take(v)
		}
		for i, v := range p.Sums.XY {
			out.XY[i] -= take(v)
		}
	}
	return out
}
