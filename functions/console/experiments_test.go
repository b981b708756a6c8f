package console

import (
	"fmt"
	"testing"
	"time"

	"pitboss/internal/event"
)

// Who is called to take a break is not a success for betting again.
func TestProtectionIsNotMeasuredByBets(t *testing.T) {
	t.Parallel()
	x, now := newExperiments(), time.Now()
	for i, kind := range []string{"service", "protection"} {
		d := &decision{Player: kind}
		d.Arm, d.Verdict, d.Kind, d.Action, d.Trigger.Time = "greedy", "issued", kind, kind, now
		d.ID, d.Decision = fmt.Sprint(i), fmt.Sprint("d", i)
		x.decided(d)
		x.happened(&seen{Type: event.TypeRoundSettled, Player: kind, Time: now.Add(time.Minute)}, "")
	}
	x.expire(now.Add(time.Hour))
	_, actions := x.view()
	for _, a := range actions {
		if want := map[string]int64{"service": 1, "protection": 0}[a.Name]; a.Settled != want || a.Issued != 1 {
			t.Errorf("%+v", a)
		}
	}
}
