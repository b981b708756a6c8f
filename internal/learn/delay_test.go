package learn

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// A message that three players in ten take up, up to a window later, is known to be
// worth that while most of its outcomes are still to come, and one whose outcomes
// come at once is judged no better for it.
func TestPendingOutcomesAreAllowedFor(t *testing.T) {
	t.Parallel()
	spec := &Spec{Version: 1, Mode: Learning, Deviation: 200, Noise: 40, Ceiling: 1, Draws: 32, Window: Window(24 * time.Hour),
		Rewards: map[string]map[string]float64{"service": {"accepted": 100}}}
	const rate, guess, decisions = 0.3, 60.0, 4000
	rng := rand.New(rand.NewPCG(3, 1))
	now := time.Date(2026, 11, 10, 0, 0, 0, 0, time.UTC)
	for _, slow := range []float64{0.01, 0.5, 1} { // how much of the window outcomes take at most
		sums, slots := spec.NewSums(), map[int64]*Sums{}
		var d Delays
		for range 3000 { // outcomes of the days before
			d[DelayPart(time.Duration(rng.Float64()*slow*float64(spec.Window)))]++
		}
		for i := range decisions { // of the last 30 hours
			at := now.Add(-time.Duration(float64(i) / decisions * 30 * float64(time.Hour)))
			rank := Rank("issued")
			if rng.Float64() < rate && at.Add(time.Duration(rng.Float64()*slow*float64(spec.Window))).Before(now) {
				rank = Rank("accepted")
			}
			sums.Add(spec.Row([]float64{1}, "service", rank, guess))
			slot := spec.Slot(at)
			if slots[slot] == nil {
				slots[slot] = spec.NewSums()
			}
			slots[slot].Add(spec.Row([]float64{1}, "service", Rank("issued"), guess))
		}
		var pending []Pending
		for slot, s := range slots {
			begin := time.Unix(slot*int64(spec.SlotLength().Seconds()), 0)
			pending = append(pending, Pending{max(0, now.Sub(begin)-spec.SlotLength()), now.Sub(begin), s})
		}
		worth := func(s *Sums) float64 {
			m, err := (&Snapshot{Spec: *spec, Actions: map[string]*Sums{"a": s}}).Model()
			if err != nil {
				t.Fatal(err)
			}
			mean, _ := m.Worth("a", []float64{1})
			return guess + mean
		}
		plain, mature := worth(sums), worth(spec.Mature(sums, pending, &d))
		t.Logf("outcomes within %.2f of the window: worth %.1f as they are, %.1f when the pending are allowed for", slow, plain, mature)
		if math.Abs(mature-100*rate) > 3 {
			t.Errorf("outcomes within %.2f of the window: worth %.1f, want 30", slow, mature)
		}
		if slow == 1 && plain > 22 {
			t.Errorf("as they are, they are worth %.1f: the test shows nothing", plain)
		}
	}
	var none Delays
	if got := none.By(time.Minute); got != 1 {
		t.Errorf("of delays that nobody knows %v of the outcomes have come", got)
	}
}
