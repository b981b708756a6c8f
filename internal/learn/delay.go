package learn

import (
	"math"
	"time"
)

// Delays is how long after their decisions outcomes came, in parts of the window.
type Delays [delayParts]int64

const (
	// PendingSlots is how many parts of the window decisions are kept apart by.
	PendingSlots = 24
	delayParts   = 4 * PendingSlots
	// delayLeast is how many outcomes must have come before anything is said of their delays.
	delayLeast = 50
)

// DelayPart is the part of the window that a delay falls in.
func (s *Spec) DelayPart(delay time.Duration) int {
	return min(max(0, int(delayParts*delay.Seconds()/time.Duration(s.Window).Seconds())), delayParts-1)
}

// Slot is the part of the window's length that a decision was made in, and when it begins.
func (s *Spec) Slot(at time.Time) (slot int64, begin time.Time) {
	long := s.SlotLength()
	slot = at.Unix() / int64(long.Seconds())
	return slot, time.Unix(slot*int64(long.Seconds()), 0)
}

// SlotLength is a part of the window, in whole seconds.
func (s *Spec) SlotLength() time.Duration {
	return max(time.Second, (time.Duration(s.Window) / PendingSlots).Truncate(time.Second))
}

// By is the share of the outcomes that ever come that have come when a decision is
// so old; 1 where too little is known of them.
func (d *Delays) By(spec *Spec, age time.Duration) float64 {
	var all int64
	for _, n := range d {
		all += n
	}
	if all < delayLeast || age >= time.Duration(spec.Window) {
		return 1
	}
	at := delayParts * max(0, age.Seconds()) / time.Duration(spec.Window).Seconds()
	whole := min(int(at), delayParts-1)
	var come float64
	for _, n := range d[:whole] {
		come += float64(n)
	}
	come += (at - float64(whole)) * float64(d[whole])
	return come / float64(all)
}

// Mature is what sums say where decisions whose outcomes may still come count only
// for the share of outcomes that has come at their age (Vernade, Cappé and Perchet
// 2017): else each would count as refused from the moment it is made. pending are
// the sums of decisions by age, each with the reward of none (Row of rank 1).
func (s *Spec) Mature(sums *Sums, pending []Pending, d *Delays) *Sums {
	out := s.NewSums()
	out.Add(sums)
	for _, p := range pending {
		still := 1 - d.By(s, p.Age)
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

// Pending is the sums of decisions of about one age.
type Pending struct {
	Age  time.Duration
	Sums *Sums
}
