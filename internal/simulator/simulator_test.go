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

func TestSeedsDiffer(t *testing.T) {
	t.Parallel()
	if x, y := world(1).Next(), world(2).Next(); x.String() == y.String() {
		t.Error("two seeds gave the same first event")
	}
}
