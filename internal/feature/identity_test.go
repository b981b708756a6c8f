package feature

import "testing"

// Players' states hold these hashes. A change here makes every stored slot of
// that kind start empty at the next deploy: don't, unless that is meant.
func TestIdentitiesOfStoredSlotsAreStable(t *testing.T) {
	t.Parallel()
	s, err := Parse("test.yaml", []byte(`
version: 1
features:
  - {name: a, on: [round.settled], agg: count}
  - {name: b, on: [round.settled], agg: mean, value: data.stake, where: data.win > 0, horizon: {decay: {half_life: 1h}}}
  - {name: c, on: [round.settled, payment.deposited], agg: count, horizon: {window: {size: 30d, buckets: 30}}}
  - {name: d, on: [round.settled], agg: max, value: data.stake, horizon: {session: {gap: 30m, on: [session.started]}}}
  - {name: e, on: [round.settled], agg: distinct, value: data.game, limit: 10}
  - {name: f, on: [payment.deposited], agg: follow, after: {on: [round.settled], streak: data.win < data.stake, times: 3, within: 10m}}
reminders:
  - {name: idle, after: 90s, set_when: [{on: [game.failed]}], cancel_when: [{on: [round.settled], where: data.stake > 0}]}
score_when:
  - {name: jump, on: [round.settled], spacing: 1m}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := []struct {
		hash uint32
		text string
	}{
		{0x192aa689, "sum|lifetime|round.settled||"},
		{0x4407c8a9, "sum|decay 1h|round.settled|data.win > 0|data.stake"},
		{0x8fa4bfd6, "sum|decay 1h|round.settled|data.win > 0|"},
		{0xf78e346a, "sum|window 30d/30|payment.deposited,round.settled||"},
		{0x9b3e9975, "max|session 30m session.started|round.settled||data.stake|0s|0"},
		{0x5f9e7104, "distinct|lifetime|round.settled||data.game|0s|10"},
		{0xc4f29843, "follow|lifetime|payment.deposited|||0s|0|round.settled||data.win < data.stake|3|10m"},
		{0xc780a415, "reminder|idle|1m30s|[{[game.failed] }]|[{[round.settled] data.stake > 0}]"},
		{0xfa5a2f15, "due|jump"},
	}
	if len(s.slots) != len(want) {
		t.Errorf("%d slots, want %d", len(s.slots), len(want))
	}
	for i, sl := range s.slots {
		if i >= len(want) || sl.hash != want[i].hash || sl.text != want[i].text {
			t.Errorf("slot %d is {0x%08x, %q}", i, sl.hash, sl.text)
		}
	}
}
