package feature_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

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

// A round that has left the timeline is not undone, and the outcome says so:
// what it added is not known any more.
func TestAnOldRoundStays(t *testing.T) {
	t.Parallel()
	y := voidStory(t)
	r := y.round("1", 0, 50)
	y.take(r)
	y.take(y.round("2", time.Hour, 20))
	for n := range 3 {
		undo := rollback(r, start.Add(2*time.Hour))
		undo.ID += fmt.Sprint(n)
		if out := y.take(undo); !out.Unknown {
			t.Error("the rollback of an old round is not told")
		}
	}
	y.want("an hour later", 2, 70, 50, 2)
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
	out := y.take(rollback(r, start.Add(2*time.Minute))) // already in the base
	if got := y.s.Vector(nil, y.st, y.st.AsOf()); got[0] != 100 || got[1] != want || !out.Unknown {
		t.Errorf("n, sum are %v after the rollback, want 100, %v and that it is told: %+v", got[:2], want, out)
	}
}

// drawRollback is a rollback of the round: under an id of its own, late or not,
// with amounts and a time that may differ from the round's.
func drawRollback(t *rapid.T, round *event.Record, id string, at time.Time) *event.Record {
	r := rollback(round, at)
	d := *r.Data.(*event.RoundRolledback)
	if rapid.Bool().Draw(t, "other amounts") {
		amount := rapid.Int64Range(0, math.MaxInt64)
		d.Stake, d.Win, d.BonusStake, d.Product, d.Game = amount.Draw(t, "stake"), amount.Draw(t, "win"), amount.Draw(t, "bonus"), "sports", "other"
	}
	if rapid.Bool().Draw(t, "other time") {
		d.Settled = at.Add(-time.Duration(rapid.IntRange(-60, 90*60).Draw(t, "settled")) * time.Second)
	}
	r.ID, r.Data = id, &d
	return r
}

// Whatever rollbacks come, however often, late and with whatever amounts, each
// round counts once or not at all: no total is ever below what happened.
func TestNoTotalGoesBelowWhatHappened(t *testing.T) {
	t.Parallel()
	s := parse(t, voided+`
  - {name: hour, on: [round.settled], agg: sum, value: data.stake, horizon: {window: {size: 1h, buckets: 12}}}
  - {name: fading, on: [round.settled], agg: sum, value: data.stake, horizon: {decay: {half_life: 10m}}}
  - {name: half, on: [round.settled], agg: sum, value: double(data.stake) / 2.0}
  - {name: casino, on: [round.settled], where: data.product == 'casino', agg: count}
  - {name: m, on: [round.settled], agg: mean, value: data.stake}
`)
	rapid.Check(t, func(t *rapid.T) {
		type played struct {
			stake int64
			state int // 0: not folded, 1: counts, 2: undone
		}
		rounds := map[string]*played{}
		var all float64
		var events []*event.Record
		for i := range rapid.IntRange(1, 30).Draw(t, "rounds") {
			at := start.Add(time.Duration(rapid.IntRange(0, 40*60).Draw(t, "at")) * time.Second)
			r := record(event.TypeRoundSettled, fmt.Sprint(i), at, &event.RoundSettled{Game: "a", Product: "casino", Stake: rapid.Int64Range(0, 5000).Draw(t, "stake")})
			rounds[r.ID] = &played{stake: r.Data.(*event.RoundSettled).Stake}
			all += float64(rounds[r.ID].stake)
			events = append(events, r)
			for n := range rapid.IntRange(0, 2).Draw(t, "rollbacks") {
				undo := drawRollback(t, r, fmt.Sprintf("undo-%d-%d", i, n), at.Add(time.Duration(rapid.IntRange(0, 40*60).Draw(t, "undone"))*time.Second))
				events = append(events, undo)
			}
		}
		st, _ := s.Decode(nil)
		for _, e := range rapid.Permutation(events).Draw(t, "order") {
			before := s.Vector(nil, st, st.AsOf())
			out, err := s.Fold(st, e)
			if err != nil {
				t.Fatal(err)
			}
			if rapid.Bool().Draw(t, "store") {
				st = reload(t, s, st)
			}
			after := s.Vector(nil, st, st.AsOf())
			if r, ok := rounds[e.ID]; ok {
				if after[0] > before[0] {
					r.state = 1
				}
			} else if d := e.Data.(*event.RoundRolledback); after[0] < before[0] {
				if r := rounds[d.Round]; r.state != 1 || out.Unknown || out.Late {
					t.Fatalf("rollback %s of a round that does not count takes something out", e.ID)
				} else {
					r.state = 2
				}
			}
			var n, sum float64
			for _, r := range rounds {
				if r.state == 1 {
					n, sum = n+1, sum+float64(r.stake)
				}
			}
			if after[0] != n || after[1] != sum || after[6] != sum/2 || after[7] != n {
				t.Fatalf("after %s: n, sum, half and casino are %v; what counts is %v, %v", e.ID, after, n, sum)
			}
			for i, name := range s.Names() {
				if after[i] < -1e-9*all {
					t.Fatalf("after %s: %s is %v", e.ID, name, after[i])
				}
			}
		}
	})
}

// Sums of the largest integers do not wrap, in whatever order, and what is
// taken out again leaves what there was.
func TestSumsDoNotWrap(t *testing.T) {
	t.Parallel()
	s := parse(t, `
version: 1
features:
  - {name: sum, on: [round.settled], agg: sum, value: data.stake}
  - {name: net, on: [round.settled], agg: sum, value: data.win - data.stake}
  - {name: day, on: [round.settled], agg: sum, value: data.stake, horizon: {window: {size: 1d, buckets: 1}}}
  - {name: hours, on: [round.settled], agg: sum, value: data.stake, horizon: {window: {size: 2h, buckets: 24}}}
  - {name: fading, on: [round.settled], agg: sum, value: data.stake, horizon: {decay: {half_life: 1h}}}
  - {name: session, on: [round.settled], agg: sum, value: data.stake, horizon: {session: {gap: 1h}}}
  - {name: huge, on: [round.settled], agg: sum, value: double(data.stake) * 1e289}
  - {name: mean, on: [round.settled], agg: mean, value: double(data.stake) * 1e289}
`)
	rapid.Check(t, func(t *rapid.T) {
		var events []*event.Record
		var sum, net, folded float64
		amount := rapid.OneOf(rapid.Just(int64(math.MaxInt64)), rapid.Int64Range(math.MaxInt64/2, math.MaxInt64), rapid.Int64Range(0, 5000))
		for i := range rapid.IntRange(2, 12).Draw(t, "rounds") {
			at := start.Add(time.Duration(i) * 20 * time.Second)
			d := &event.RoundSettled{Game: "a", Stake: amount.Draw(t, "stake"), Win: amount.Draw(t, "win")}
			r := record(event.TypeRoundSettled, fmt.Sprint(i), at, d)
			events = append(events, r)
			folded += float64(d.Stake)
			if rapid.IntRange(0, 3).Draw(t, "undo") == 0 {
				events = append(events, drawRollback(t, r, "undo-"+r.ID, at.Add(time.Second)))
				events[len(events)-1].Data.(*event.RoundRolledback).Settled = at
				continue
			}
			sum, net = sum+float64(d.Stake), net+float64(d.Win-d.Stake)
		}
		st := foldAll(t, s, rapid.Permutation(events).Draw(t, "order"), func() bool { return rapid.Bool().Draw(t, "store") })
		v := s.Vector(nil, st, st.AsOf())
		near := func(got, want float64) bool { return math.Abs(got-want) <= 1e-6*(sum+math.Abs(net)) }
		if !near(v[0], sum) || !near(v[1], net) || !near(v[5], sum) {
			t.Fatalf("sum, net, session are %v, %v, %v; want %v, %v, %v", v[0], v[1], v[5], sum, net, sum)
		}
		for i, x := range v {
			least := -1e-6 * sum
			switch { // doubles: what was added and taken out again leaves their rounding
			case i >= 6:
				least = -1e-9 * folded * 1e289
			case i == 4:
				least = -1e-9 * folded
			}
			if math.IsNaN(x) || math.IsInf(x, 0) || x < least && i != 1 {
				t.Fatalf("%s is %v", s.Names()[i], x)
			}
		}
		// The features add integers, exactly; sum above rounds at each round.
		if least := math.Min(sum, 0.99*math.MaxInt64) * (1 - 1e-12); v[2] < least || v[3] < least {
			t.Fatalf("day and hours are %v and %v, less than %v", v[2], v[3], least)
		}
	})
}
