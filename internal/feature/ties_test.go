package feature_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pitboss/internal/event"
)

// drawFact draws an event that changes facts, at one of few times: equal ones,
// and some a nanosecond, a microsecond or a millisecond apart.
func drawFact(t *rapid.T, id string) *event.Record {
	steps := []time.Duration{0, 0, 1, time.Microsecond, time.Millisecond}
	at := start.Add(rapid.SampledFrom(steps).Draw(t, "at"))
	small := rapid.Int64Range(0, 3)
	switch rapid.IntRange(0, 6).Draw(t, "fact") {
	case 0:
		return record(event.TypeConsentChanged, id, at, &event.ConsentChanged{Product: "all", Channel: "all", Granted: rapid.Bool().Draw(t, "granted")})
	case 1:
		x := &event.Excluded{Scheme: "GAMSTOP"}
		if n := small.Draw(t, "until"); n > 0 {
			x.Until = start.AddDate(0, int(n)-2, 0) // some have ended before they began
		}
		return record(event.TypeExcluded, id, at, x)
	case 2:
		return record(event.TypeReinstated, id, at, &event.Reinstated{Scheme: "GAMSTOP"})
	case 3:
		return record(event.TypeLimitSet, id, at, &event.LimitSet{Limit: "deposit", Period: "day", Amount: small.Draw(t, "amount"), Currency: "GBP"})
	case 4:
		return record(event.TypeLimitReached, id, at, &event.LimitReached{Limit: "deposit", Period: "day"})
	case 5:
		return record(event.TypeIndicatorRaised, id, at, &event.IndicatorRaised{Group: "contact",
			Strength: rapid.SampledFrom([]string{"none", "low", "strong"}).Draw(t, "strength")})
	default:
		return record(event.TypeAccountUpdated, id, at, &event.Account{
			Jurisdiction: rapid.SampledFrom([]string{"", "GB", "SE"}).Draw(t, "law"),
			BirthDate:    rapid.SampledFrom([]string{"", "1990-01-01", "2009-12-31"}).Draw(t, "born"),
			Brand:        rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "brand"),
			Tier:         rapid.SampledFrom([]string{"", "gold"}).Draw(t, "tier"),
			TimeZone:     rapid.SampledFrom([]string{"", "Europe/London"}).Draw(t, "zone"),
		})
	}
}

// latest returns what pick takes from the events of the latest time, and that time.
func latest[T any](events []*event.Record, pick func(any) (T, bool)) (out []T, at time.Time) {
	for _, e := range events {
		v, ok := pick(e.Data)
		if !ok || e.Time.Before(at) {
			continue
		}
		if e.Time.After(at) {
			out, at = nil, e.Time
		}
		out = append(out, v)
	}
	return out, at
}

// safest is what the facts must be, computed from all events at once.
func safest(events []*event.Record) string {
	var b bytes.Buffer
	if v, _ := latest(events, func(d any) (bool, bool) { c, ok := d.(*event.ConsentChanged); return ok && c.Granted, ok }); v != nil {
		fmt.Fprintln(&b, "consent", !slices.Contains(v, false))
	}
	ends, excluded := latest(events, func(d any) (time.Time, bool) {
		x, ok := d.(*event.Excluded)
		if !ok {
			return time.Time{}, false
		}
		return x.Until, true
	})
	_, lifted := latest(events, func(d any) (bool, bool) { _, ok := d.(*event.Reinstated); return ok, ok })
	if ends != nil && !lifted.After(excluded) {
		end := slices.MaxFunc(ends, time.Time.Compare)
		if slices.ContainsFunc(ends, time.Time.IsZero) {
			end = time.Time{}
		}
		fmt.Fprintln(&b, "excluded", excluded.UTC(), end.UTC())
	}
	amounts, set := latest(events, func(d any) (int64, bool) {
		l, ok := d.(*event.LimitSet)
		if !ok {
			return 0, false
		}
		return l.Amount, true
	})
	_, reached := latest(events, func(d any) (bool, bool) { _, ok := d.(*event.LimitReached); return ok, ok })
	if amounts != nil {
		fmt.Fprintln(&b, "limit", slices.Min(amounts))
	}
	if !reached.IsZero() && !set.After(reached) {
		fmt.Fprintln(&b, "reached", reached.UTC())
	}
	order := []string{"none", "low", "strong"}
	if v, _ := latest(events, func(d any) (int, bool) {
		i, ok := d.(*event.IndicatorRaised)
		if !ok {
			return 0, false
		}
		return slices.Index(order, i.Strength), true
	}); v != nil && slices.Max(v) > 0 {
		fmt.Fprintln(&b, "indicator", order[slices.Max(v)])
	}
	account := func(of func(*event.Account) string) []string {
		v, _ := latest(events, func(d any) (string, bool) {
			a, ok := d.(*event.Account)
			if !ok || of(a) == "" {
				return "", false
			}
			return of(a), true
		})
		slices.Sort(v)
		return slices.Compact(v)
	}
	if v := account(func(a *event.Account) string { return a.Jurisdiction }); len(v) == 1 {
		fmt.Fprintln(&b, "law", v[0]) // two at once: none is known
	}
	if v := account(func(a *event.Account) string { return a.BirthDate }); v != nil {
		fmt.Fprintln(&b, "born", v[len(v)-1])
	}
	return b.String()
}

func told(f event.Facts) string {
	var b bytes.Buffer
	if granted, ok := f.Consents["all/all"]; ok {
		fmt.Fprintln(&b, "consent", granted)
	}
	for _, x := range f.Exclusions {
		fmt.Fprintln(&b, "excluded", x.Since, x.Until)
	}
	if l, ok := f.Limits["deposit/day"]; ok {
		if l.Currency != "" {
			fmt.Fprintln(&b, "limit", l.Amount)
		}
		if !l.Reached.IsZero() {
			fmt.Fprintln(&b, "reached", l.Reached)
		}
	}
	if s := f.Indicators["contact"]; s != "" {
		fmt.Fprintln(&b, "indicator", s)
	}
	if f.Jurisdiction != "" {
		fmt.Fprintln(&b, "law", f.Jurisdiction)
	}
	if f.BirthDate != "" {
		fmt.Fprintln(&b, "born", f.BirthDate)
	}
	return b.String()
}

// Whatever order events of equal and nearly equal times come in, and how often,
// the facts are the same, and of equal times the safer value counts.
func TestOfEqualTimesTheSaferCounts(t *testing.T) {
	t.Parallel()
	s := parse(t, exact)
	rapid.Check(t, func(t *rapid.T) {
		var events []*event.Record
		for i := range rapid.IntRange(1, 8).Draw(t, "events") {
			events = append(events, drawFact(t, fmt.Sprint(i)))
		}
		store := func() bool { return rapid.Bool().Draw(t, "store") }
		a := foldAll(t, s, events, store)
		b := foldAll(t, s, rapid.Permutation(events).Draw(t, "order"), store)
		if got, want := told(s.Facts(a)), safest(events); got != want {
			t.Fatalf("facts are\n%swant\n%s", got, want)
		}
		if x, y := encode(t, s, a), encode(t, s, b); !bytes.Equal(x, y) {
			t.Fatalf("one order:\n%s\nanother:\n%s", s.Dump(a), s.Dump(b))
		}
	})
}

// Rounds of one millisecond count in the order of their nanoseconds, also
// after the state was stored, in whatever order they came.
func TestNanosecondsOrderTheTimeline(t *testing.T) {
	t.Parallel()
	s := parse(t, `
version: 1
features:
  - {name: last, on: [round.settled], agg: last, value: data.stake}
  - {name: changes, on: [round.settled], agg: changes, value: data.stake}
reminders:
  - {name: idle, after: 90s, set_when: [{on: [game.failed]}], cancel_when: [{on: [session.ended]}]}
`)
	rapid.Check(t, func(t *rapid.T) {
		var events []*event.Record
		for i := range 12 {
			events = append(events, record(event.TypeRoundSettled, rapid.StringN(1, 8, 8).Draw(t, "id")+fmt.Sprint(i),
				start.Add(time.Duration(i)*250*time.Nanosecond), &event.RoundSettled{Game: "a", Stake: int64(i / 3)}))
		}
		events = append(events, record(event.TypeGameFailed, "f", start.Add(100), &event.GameFailed{Game: "a", Error: "x"}),
			record(event.TypeSessionEnded, "e", start.Add(101), &event.SessionEnded{}))
		st := foldAll(t, s, rapid.Permutation(events).Draw(t, "order"), func() bool { return rapid.Bool().Draw(t, "store") })
		if v := s.Vector(nil, st, start); v[0] != 3 || v[1] != 4 {
			t.Fatalf("last and changes are %v, want 3 and 4", v)
		}
		old, err := s.Fold(st, record(event.TypeGameFailed, "g", start.Add(99), &event.GameFailed{Game: "a", Error: "x"}))
		if err != nil || len(old.Reminders) != 0 {
			t.Fatalf("a failure before the cancellation sets the reminder: %+v, %v", old, err)
		}
	})
}
