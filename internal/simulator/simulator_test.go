package simulator_test

import (
	"testing"
	"time"

	"pitboss/internal/event"
	"pitboss/internal/simulator"
)

func world(seed uint64) *simulator.World {
	return simulator.New(simulator.Config{Seed: seed, Players: 100, Start: time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC), Pace: 20})
}

func TestWorldIsDeterministicValidAndInOrder(t *testing.T) {
	t.Parallel()
	a, b := world(7), world(7)
	types := map[string]int{}
	var last time.Time
	for range 20000 {
		x, y := a.Next(), b.Next()
		if x.String() != y.String() {
			t.Fatalf("the same seed gave\n%s\nand\n%s", x, y)
		}
		if _, err := event.Parse(x, x.Time()); err != nil {
			t.Fatalf("%s: %v\n%s", x.Type(), err, x)
		}
		if x.Time().Before(last) {
			t.Fatalf("%s at %s comes after %s", x.Type(), x.Time(), last)
		}
		last = x.Time()
		types[x.Type()]++
	}
	for _, typ := range []string{event.TypeRoundSettled, event.TypeGameFailed, event.TypePaymentFailed, event.TypeRoundRolledback,
		event.TypeSessionEnded, event.TypeSupportContacted, event.TypeExcluded, event.TypeLimitSet} {
		if types[typ] == 0 {
			t.Errorf("no %s among 20,000 events: %v", typ, types)
		}
	}
	if share := float64(types[event.TypeRoundSettled]) / 20000; share < 0.6 || share > 0.98 {
		t.Errorf("rounds are %.0f %% of all events: %v", 100*share, types)
	}
}

// Players with a history have done all of it before the first session, so that
// nothing of it is late.
func TestPlayersWithAHistoryPlayedBefore(t *testing.T) {
	t.Parallel()
	begin := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	w := simulator.New(simulator.Config{Seed: 7, Players: 50, Start: begin, Pace: 20, History: true})
	rounds, last, came := map[string]int{}, map[string]time.Time{}, map[string]bool{}
	for w.Peek().Before(begin.Add(10 * time.Minute)) {
		e := w.Next()
		if _, err := event.Parse(e, e.Time()); err != nil {
			t.Fatalf("%s: %v\n%s", e.Type(), err, e)
		}
		if e.Time().Before(last[e.Subject()]) {
			t.Fatalf("%s of %s at %s comes after %s", e.Type(), e.Subject(), e.Time(), last[e.Subject()])
		}
		last[e.Subject()] = e.Time()
		came[e.Subject()] = came[e.Subject()] || e.Type() == event.TypeSessionStarted
		if e.Time().Before(begin) && came[e.Subject()] {
			t.Fatalf("%s of %s at %s, after they came", e.Type(), e.Subject(), e.Time())
		}
		if e.Type() == event.TypeRoundSettled && !came[e.Subject()] {
			rounds[e.Subject()]++
		}
	}
	if len(rounds) != 50 {
		t.Errorf("%d players have played before", len(rounds))
	}
	for id, n := range rounds {
		if n < 20 {
			t.Errorf("%s has a history of %d rounds", id, n)
		}
	}
}

func TestSeedsDiffer(t *testing.T) {
	t.Parallel()
	if x, y := world(1).Next(), world(2).Next(); x.String() == y.String() {
		t.Error("two seeds gave the same first event")
	}
}

// Guests come one after the other, whatever else there is; each has a past, comes
// once, and is gone.
func TestGuestsComeAndGo(t *testing.T) {
	t.Parallel()
	begin := time.Date(2026, 1, 1, 3, 0, 0, 0, time.UTC)
	w := simulator.New(simulator.Config{Seed: 5, Start: begin, Pace: 20, Guests: true})
	came, past := map[string]time.Time{}, map[string]int{}
	for w.Peek().Before(begin.Add(time.Hour)) {
		e := w.Next()
		if _, err := event.Parse(e, e.Time()); err != nil {
			t.Fatalf("%s: %v\n%s", e.Type(), err, e)
		}
		if e.Type() == event.TypeSessionStarted {
			came[e.Subject()] = e.Time()
		}
		switch at, here := came[e.Subject()]; {
		case !here && e.Type() == event.TypeRoundSettled:
			past[e.Subject()]++
		case here && (e.Time().Before(at) || e.Time().Sub(at) > 3*time.Minute):
			t.Fatalf("%s of %s at %s, who came at %s", e.Type(), e.Subject(), e.Time(), at)
		}
	}
	if len(came) < 110 || len(came) > 121 { // one in half a minute
		t.Errorf("%d guests within an hour", len(came))
	}
	for id := range came {
		if past[id] != 30 {
			t.Errorf("%s has a past of %d rounds", id, past[id])
		}
	}
}
