package feature_test

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"pitboss/internal/event"
	"pitboss/internal/feature"
	"pitboss/internal/player"
)

const watched = `
version: 1
features:
  - {name: rounds, on: [round.settled], agg: count}
  - {name: losses, on: [round.settled], agg: streak, value: data.win < data.stake}
reminders:
  - name: idle
    after: 90s
    set_when: [{on: [game.failed], where: "data.load_ms > 1000"}]
    cancel_when: [{on: [round.settled]}]
score_when:
  - {name: third, on: [round.settled], when: int(rounds) % 3 == 0}
  - {name: losing, on: [round.settled], when: losses >= 2 && data.stake > 10, spacing: 5m}
  - {name: idle, reminder: idle, spacing: 1m}
`

// story folds events told in short.
type story struct {
	t  *testing.T
	s  *feature.Set
	st *feature.State
	n  int
}

func (y *story) fold(at time.Duration, typ string, data any) feature.Outcome {
	y.t.Helper()
	y.n++
	out, err := y.s.Fold(y.st, record(typ, fmt.Sprint(y.n), start.Add(at), data))
	if err != nil {
		y.t.Fatal(err)
	}
	y.st = reload(y.t, y.s, y.st)
	return out
}

func (y *story) lose(at time.Duration, stake int64) []string {
	y.t.Helper()
	return y.fold(at, event.TypeRoundSettled, &event.RoundSettled{Game: "a", Stake: stake}).Due
}

func TestScoreWhen(t *testing.T) {
	t.Parallel()
	s := parse(t, watched)
	st, _ := s.Decode(nil)
	y := &story{t: t, s: s, st: st}
	for i, tc := range []struct {
		at    time.Duration
		stake int64
		want  []string
	}{
		{0, 20, nil},
		{1 * time.Minute, 5, nil}, // losing, but the stake is small
		{2 * time.Minute, 20, []string{"third", "losing"}},
		{3 * time.Minute, 20, nil}, // within the spacing
		{7 * time.Minute, 20, []string{"losing"}},
		{8 * time.Minute, 20, []string{"third"}},
	} {
		if got := y.lose(tc.at, tc.stake); !reflect.DeepEqual(got, tc.want) {
			t.Errorf("round %d: due %v, want %v", i, got, tc.want)
		}
	}
	if names := s.Conditions(); !reflect.DeepEqual(names, []string{"third", "losing", "idle"}) {
		t.Errorf("conditions %v", names)
	}
}

func TestScoreAlways(t *testing.T) {
	t.Parallel()
	s := parse(t, watched)
	s.ScoreAlways()
	st, _ := s.Decode(nil)
	y := &story{t: t, s: s, st: st}
	out := y.fold(0, event.TypeSessionStarted, &event.SessionStarted{})
	if !reflect.DeepEqual(out.Due, []string{"always"}) || len(out.Vector) != 2 {
		t.Errorf("due %v, vector %v", out.Due, out.Vector)
	}
	if !reflect.DeepEqual(s.Conditions(), []string{"always"}) {
		t.Errorf("conditions %v", s.Conditions())
	}
}

func TestReminders(t *testing.T) {
	t.Parallel()
	s := parse(t, watched)
	st, _ := s.Decode(nil)
	y := &story{t: t, s: s, st: st}
	at := func(d time.Duration) time.Time { return start.Add(d) }
	change := func(old, new time.Time) []player.ReminderChange {
		return []player.ReminderChange{{Name: "idle", Old: old, New: new}}
	}
	failed := func(d time.Duration, ms int64) []player.ReminderChange {
		return y.fold(d, event.TypeGameFailed, &event.GameFailed{Game: "a", LoadMs: ms}).Reminders
	}
	due := func(d time.Duration) feature.Outcome {
		return y.fold(d, event.TypeReminderDue, &event.ReminderDue{Reminder: "idle", Due: at(d)})
	}
	check := func(what string, got, want []player.ReminderChange) {
		t.Helper()
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	check("a fast failure", failed(0, 10), nil)
	check("a failure", failed(time.Second, 5000), change(time.Time{}, at(91*time.Second)))
	check("another failure", failed(10*time.Second, 5000), change(at(91*time.Second), at(100*time.Second)))
	if out := due(91 * time.Second); out.Due != nil || out.Reminders != nil {
		t.Errorf("a reminder that was moved fired: %+v", out)
	}
	out := due(100 * time.Second)
	check("fired", out.Reminders, change(at(100*time.Second), time.Time{}))
	if !reflect.DeepEqual(out.Due, []string{"idle"}) {
		t.Errorf("due %v, want idle", out.Due)
	}
	if out := due(100 * time.Second); out.Due != nil {
		t.Errorf("fired twice: %v", out.Due)
	}
	check("set again", failed(200*time.Second, 5000), change(time.Time{}, at(290*time.Second)))
	check("a round from before the failure", y.fold(150*time.Second, event.TypeRoundSettled, &event.RoundSettled{Game: "a"}).Reminders, nil)
	check("a round", y.fold(220*time.Second, event.TypeRoundSettled, &event.RoundSettled{Game: "a"}).Reminders, change(at(290*time.Second), time.Time{}))
	check("a failure from before the round", failed(210*time.Second, 5000), nil)
}
