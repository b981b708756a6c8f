package policy

import (
	"fmt"
	"testing"
	"time"
)

func row(player string, at time.Time, kind string, markers int, holdout bool, outcomes ...string) Row {
	d := &Decision{Issued: !holdout, Action: kind + "_action", Kind: kind, Arm: "a", Holdout: holdout, Propensity: 1, Markers: make([]Marker, markers)}
	if holdout {
		d.Arm = HoldoutArm
	}
	return Row{Player: player, At: at, Decision: d, Outcomes: outcomes}
}

// Protection is measured by what protects and never by whether the player plays
// on, nor against the holdout; the rest by what it is for.
func TestReportMeasuresEachKindByItsOwn(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	var rows []Row
	for n := range 40 {
		p := fmt.Sprint("p", n)
		rows = append(rows, row(p, noon, Protection, 1, false))
		later := noon.Add(2 * time.Hour)
		if n%4 == 0 { // plays straight on, and still shows the marker
			rows = append(rows, row(p, noon.Add(time.Minute), Protection, 1, false), row(p, later, Service, 1, false, "delivered"))
			continue
		}
		rows = append(rows, row(p, later, Service, 0, false, "delivered", "accepted"))
	}
	for n := range 10 {
		rows = append(rows, row(fmt.Sprint("h", n), noon, Service, 0, true))
	}
	rep := MakeReport(rows, 0.2)
	if len(rep.Lines) != 2 || rep.Players != 50 || rep.HeldOut != 10 || rep.Mismatch {
		t.Fatalf("%+v", rep)
	}
	p, s := rep.Lines[0], rep.Lines[1]
	if p.Kind != Protection || p.HoldoutPlayers != 0 || p.Stayed != (Estimate{}) || p.Uplift != (Estimate{}) {
		t.Errorf("protection is measured by who plays on: %+v", p)
	}
	if p.Players != 40 || p.Paused.Value != 0.75 || p.Marked != 40 || p.Cleared.Value != 0.75 {
		t.Errorf("%+v", p)
	}
	if s.Kind != Service || s.HoldoutPlayers != 10 || s.Done.Value != 0.75 || s.Detectable <= 0 || s.Needed <= 0 {
		t.Errorf("%+v", s)
	}
	if rep = MakeReport(rows, 0.6); !rep.Mismatch {
		t.Error("10 of 50 held out, 30 were meant to be, and nobody is told")
	}
}

// More players show smaller differences, and fewer more are needed.
func TestPower(t *testing.T) {
	t.Parallel()
	before, needed := power(50, 100, 100)
	for _, n := range []int{200, 400, 1600} {
		d, more := power(n/2, n, n)
		if d >= before || more >= needed && needed > 0 {
			t.Errorf("%d a group: %v and %d, before %v and %d", n, d, more, before, needed)
		}
		before, needed = d, more
	}
	if d, more := power(0, 0, 0); d != 1 || more != 1570 {
		t.Errorf("nobody: %v, %d", d, more)
	}
}
