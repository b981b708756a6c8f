package console

import (
	"fmt"
	"testing"
	"time"

	"pitboss/internal/event"
)

// A player who was told to take a break and bets again is no success.
func TestProtectionIsNotMeasuredByBets(t *testing.T) {
	t.Parallel()
	x, now := newExperiments(), time.Now()
	sound := func() bool { return true }
	for i, kind := range []string{"service", "protection"} {
		d := &decision{Player: kind}
		d.Arm, d.Verdict, d.Kind, d.Action, d.Trigger.Time = "greedy", "issued", kind, kind, now
		d.ID, d.Decision = fmt.Sprint(i), fmt.Sprint("d", i)
		x.decided(d)
		x.bet(&seen{Type: event.TypeRoundSettled, Player: kind, Time: now.Add(time.Minute)}, sound)
	}
	x.expire(now.Add(time.Hour))
	_, actions := x.view()
	for _, a := range actions {
		if want := map[string]int64{"service": 1, "protection": 0}[a.Name]; a.Settled != want || a.Issued != 1 {
			t.Errorf("%+v", a)
		}
	}
}

// A decision about an old event, as in a backfill, has no outcome to wait for, so its
// player does not count as having left.
func TestLateDecisionsHaveNoOutcome(t *testing.T) {
	t.Parallel()
	x, now := newExperiments(), time.Now()
	for i, ago := range []time.Duration{time.Minute, time.Hour} {
		d := &decision{Player: fmt.Sprint(i), at: now}
		d.Arm, d.Verdict, d.Kind, d.Trigger.Time = "greedy", "suppressed", "service", now.Add(-ago)
		x.decided(d)
	}
	x.expire(now.Add(time.Hour))
	if arms, _ := x.view(); len(arms) != 1 || arms[0].Decisions != 2 || arms[0].Settled != 1 {
		t.Errorf("%+v", arms)
	}
}

// Functions refuse a round that breaks the contract, so it is no bet.
func TestARefusedRoundIsNoBet(t *testing.T) {
	t.Parallel()
	x, now := newExperiments(), time.Now()
	d := &decision{Player: "p"}
	d.Arm, d.Verdict, d.Kind, d.Action, d.Trigger.Time = "greedy", "issued", "service", "tip", now
	x.decided(d)
	x.bet(&seen{Type: event.TypeRoundSettled, Player: "p", Time: now.Add(time.Minute)}, func() bool { return false })
	x.expire(now.Add(time.Hour))
	if _, actions := x.view(); len(actions) != 1 || actions[0].Settled != 1 || actions[0].Stayed != 0 {
		t.Errorf("%+v", actions)
	}
}
