package feature_test

import (
	"fmt"
	"testing"
	"time"

	"pitboss/internal/event"
	"pitboss/internal/feature"
)

const voided = `
version: 1
timeline: 16
features:
  - {name: n, on: [round.settled], agg: count}
  - {name: sum, on: [round.settled], agg: sum, value: data.stake}
  - {name: high, on: [round.settled], agg: max, value: data.stake}
  - {name: streak, on: [round.settled], agg: streak, value: data.win < data.stake}
`

func voidStory(t *testing.T) *story {
	s := parse(t, voided)
	st, _ := s.Decode(nil)
	return &story{t: t, s: s, st: st}
}

func (y *story) round(id string, at time.Duration, stake int64) *event.Record {
	return record(event.TypeRoundSettled, id, start.Add(at), &event.RoundSettled{Game: "a", Stake: stake})
}

func (y *story) take(r *event.Record) feature.Outcome {
	y.t.Helper()
	out, err := y.s.Fold(y.st, r)
	if err != nil {
		y.t.Fatal(err)
	}
	y.st = reload(y.t, y.s, y.st)
	return out
}

func (y *story) want(what string, want ...float64) {
	y.t.Helper()
	if got := y.s.Vector(nil, y.st, y.st.AsOf()); fmt.Sprint(got) != fmt.Sprint(want) {
		y.t.Errorf("%s: n, sum, high, streak are %v, want %v", what, got, want)
	}
}

func TestASecondRollbackOfARoundDoesNothing(t *testing.T) {
	t.Parallel()
	y := voidStory(t)
	r := y.round("1", 0, 50)
	y.take(y.round("0", 0, 20))
	y.take(r)
	undo := rollback(r, start.Add(time.Minute))
	y.take(undo)
	again := rollback(r, start.Add(2*time.Minute))
	again.ID = "another"
	y.take(again)
	y.want("rolled back twice", 1, 20, 20, 1)
}

func TestRoundAfterItsRollbackNeverCounts(t *testing.T) {
	t.Parallel()
	y := voidStory(t)
	r := y.round("1", 0, 50)
	y.take(rollback(r, start.Add(time.Minute)))
	y.want("before the round", 0, 0, 0, 0)
	if out := y.take(r); out.Late {
		t.Error("the round is late")
	}
	y.want("after the round", 0, 0, 0, 0)
}

// Beyond the rollback window sums are still undone, to the last unit; what
// ordered features saw stays.
func TestAnOldRoundIsTakenOutOfSumsOnly(t *testing.T) {
	t.Parallel()
	y := voidStory(t)
	r := y.round("1", 0, 50)
	y.take(r)
	y.take(y.round("2", time.Hour, 20))
	y.take(rollback(r, start.Add(2*time.Hour)))
	y.want("an hour later", 1, 20, 50, 2)
}

// More events than the timeline holds: no sum loses one, in whatever order.
func TestTimelineOverflowLosesNothingFromSums(t *testing.T) {
	t.Parallel()
	y := voidStory(t)
	var want float64
	for i := range 100 {
		at := time.Duration(i) * time.Second
		if i%3 == 0 {
			at = time.Duration(99-i) * time.Second // out of order, still in time
		}
		y.take(y.round(fmt.Sprint(i), at, int64(i)))
		want += float64(i)
	}
	got := y.s.Vector(nil, y.st, y.st.AsOf())
	if got[0] != 100 || got[1] != want || got[2] != 99 {
		t.Errorf("n, sum, high are %v, want 100, %v, 99", got[:3], want)
	}
	r := y.round("50", 50*time.Second, 50)
	y.take(rollback(r, start.Add(2*time.Minute))) // already in the base
	if got := y.s.Vector(nil, y.st, y.st.AsOf()); got[0] != 99 || got[1] != want-50 {
		t.Errorf("n, sum are %v after the rollback, want 99, %v", got[:2], want-50)
	}
}
