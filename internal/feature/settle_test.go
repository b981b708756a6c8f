package feature_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pitboss/internal/event"
	"pitboss/internal/feature"
)

// Whenever a label may be settled, the player's state gives what a look at all
// the events gives, in whatever order they came and whatever was rolled back.
func TestServingSettlesLabels(t *testing.T) {
	t.Parallel()
	set, err := feature.Load("../../models/features.yaml")
	if err != nil {
		t.Fatal(err)
	}
	labels, err := feature.LoadLabels("../../models/labels.yaml")
	if err != nil {
		t.Fatal(err)
	}
	l := labels[slices.IndexFunc(labels, func(l *feature.Label) bool { return l.Score == "leave" })]
	from, until, err := set.Settles(l)
	if err != nil || from < l.Ahead() || until <= from {
		t.Fatalf("%v %v %v", from, until, err)
	}
	rapid.Check(t, func(rt *rapid.T) {
		point := start.Add(20 * time.Minute)
		now := point.Add(time.Duration(rapid.Int64Range(int64(from), int64(until)).Draw(rt, "now")))
		type coming struct {
			r    *event.Record
			when time.Time
		}
		var all []coming
		want := 1.0
		n := rapid.IntRange(1, 30).Draw(rt, "rounds")
		for i := range n {
			at := start.Add(time.Duration(rapid.IntRange(0, 60*41).Draw(rt, "at")) * time.Second)
			if i == 0 {
				at = point
			}
			if at.After(now) {
				continue
			}
			r := record(event.TypeRoundSettled, fmt.Sprint(i), at, &event.RoundSettled{Game: "g", Stake: 5})
			late := time.Duration(rapid.IntRange(0, 8*60).Draw(rt, "late")) * time.Second
			all = append(all, coming{r, at.Add(late)})
			switch {
			case rapid.IntRange(0, 3).Draw(rt, "rolled back") == 0:
				all = append(all, coming{rollback(r, at), at.Add(late)})
			case at.After(point) && !at.After(point.Add(l.Ahead())):
				want = 0
			}
		}
		slices.SortStableFunc(all, func(a, b coming) int { return a.when.Compare(b.when) })
		st, err := set.Decode(nil)
		if err != nil {
			rt.Fatal(err)
		}
		for _, c := range all {
			if _, err := set.Fold(st, c.r); err != nil {
				rt.Fatal(err)
			}
		}
		stored, err := set.Append(nil, st)
		if err != nil {
			rt.Fatal(err)
		}
		if st, err = set.Decode(stored); err != nil {
			rt.Fatal(err)
		}
		if v, known := st.Settle(l, point); !known || v != want {
			rt.Fatalf("%v %v, want %v", v, known, want)
		}
	})
}

// What a state cannot tell is refused, and says why.
func TestServingRefusesLabels(t *testing.T) {
	t.Parallel()
	set, err := feature.Load("../../models/features.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for text, why := range map[string]string{
		"{name: a, on: [round.settled], agg: count, within: 5m}":                          "agg none and any",
		"{name: a, on: [payment.deposited], agg: any, within: 5m}":                        "round.settled alone",
		"{name: a, on: [round.settled], where: data.stake > 5, agg: any, within: 5m}":     "without where",
		"{name: a, on: [round.settled, session.started], agg: any, within: 5m}":           "round.settled alone",
		"{name: a, on: [round.settled], agg: none, within: 18m}":                          "lateness and rollback",
		"{name: a, on: [round.settled], agg: none, within: 1s, score: harm}":              "harm is not calibrated",
		"{name: a, on: [round.settled], agg: count, within: 1m, score: leave}":            "agg none or any",
		"{name: a, on: [round.settled], agg: sum, value: data.win, within: 1m, score: x}": "agg none or any",
	} {
		labels, err := feature.ParseLabels("labels.yaml", []byte("version: 1\nlabels:\n  - "+text))
		if err == nil {
			_, _, err = set.Settles(labels[0])
		}
		if err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v, want %q", text, err, why)
		}
	}
}
