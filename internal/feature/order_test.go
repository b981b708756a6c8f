package feature_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pitboss/internal/event"
	"pitboss/internal/feature"
)

var start = time.Date(2026, 3, 1, 2, 0, 0, 0, time.UTC)

func record(typ, id string, at time.Time, data any) *event.Record {
	info, ok := event.Lookup(typ)
	if !ok {
		panic(typ)
	}
	return &event.Record{ID: id, Source: "/platform", Type: typ, Subject: "p", Time: at, Info: info, Data: data}
}

// drawEvent draws an event at a time.
func drawEvent(t *rapid.T, id string, at time.Time) *event.Record {
	money := rapid.OneOf(rapid.Int64Range(0, 5000), rapid.Int64Range(0, 5000), rapid.Int64Range(0, 1e12))
	switch rapid.IntRange(0, 13).Draw(t, "type") {
	case 0, 1, 2, 3, 4:
		return record(event.TypeRoundSettled, id, at, &event.RoundSettled{
			Game: string(rune('a' + rapid.IntRange(0, 11).Draw(t, "game"))), Product: "casino", Currency: "GBP",
			Stake: money.Draw(t, "stake"), Win: money.Draw(t, "win"), BonusStake: money.Draw(t, "bonus"),
		})
	case 5:
		return record(event.TypePaymentDeposited, id, at, &event.Payment{Amount: 1 + money.Draw(t, "amount"), Currency: "GBP"})
	case 6:
		return record(event.TypeGameFailed, id, at, &event.GameFailed{Game: "a", Error: "x", LoadMs: money.Draw(t, "ms")})
	case 7:
		return record(event.TypeGameLaunched, id, at, &event.GameLaunched{Game: "b", LoadMs: money.Draw(t, "ms")})
	case 8:
		return record(event.TypeSessionStarted, id, at, &event.SessionStarted{})
	case 9:
		return record(event.TypeConsentChanged, id, at, &event.ConsentChanged{Product: "casino",
			Channel: rapid.SampledFrom([]string{"email", "sms"}).Draw(t, "channel"), Granted: rapid.Bool().Draw(t, "granted")})
	case 10:
		return record(event.TypeExcluded, id, at, &event.Excluded{Scheme: "GAMSTOP", Until: at.AddDate(0, 6, 0)})
	case 11:
		return record(event.TypeReinstated, id, at, &event.Reinstated{Scheme: "GAMSTOP"})
	case 12:
		return record(event.TypeSessionEnded, id, at, &event.SessionEnded{})
	default:
		return record(event.TypeAccountUpdated, id, at, &event.Account{Brand: rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "brand"),
			Tier: rapid.SampledFrom([]string{"", "gold"}).Draw(t, "tier")})
	}
}

// rollback is the event that undoes a round.
func rollback(round *event.Record, at time.Time) *event.Record {
	return record(event.TypeRoundRolledback, "undo-"+round.ID, at, &event.RoundRolledback{
		Round: round.ID, Settled: round.Time, RoundSettled: *round.Data.(*event.RoundSettled)})
}

// drawHistory draws events of one player in order of time: some earlier play
// (far apart, so that buckets fill and sessions end), then up to 40 events
// inside one lateness window, some of the rounds rolled back.
func drawHistory(t *rapid.T, s *feature.Set) (before, window []*event.Record) {
	at := start
	for i := range rapid.IntRange(0, 6).Draw(t, "before") {
		at = at.Add(time.Duration(rapid.IntRange(1, 60).Draw(t, "hours/6")) * 10 * time.Minute)
		before = append(before, drawEvent(t, fmt.Sprint("b", i), at))
	}
	at = at.Add(time.Hour)
	span := int(s.Lateness() / time.Second)
	n := rapid.IntRange(1, 40).Draw(t, "events")
	for i := range n {
		e := drawEvent(t, fmt.Sprint("w", i), at.Add(time.Duration(rapid.IntRange(0, span).Draw(t, "at"))*time.Second))
		window = append(window, e)
		if e.Type == event.TypeRoundSettled && rapid.IntRange(0, 4).Draw(t, "undo") == 0 {
			window = append(window, rollback(e, at.Add(time.Duration(rapid.IntRange(0, span).Draw(t, "undone"))*time.Second)))
		}
	}
	return before, window
}

// foldAll folds events; where stop is drawn the state goes through its stored form.
func foldAll(t *rapid.T, s *feature.Set, events []*event.Record, store func() bool) *feature.State {
	st, err := s.Decode(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		out, err := s.Fold(st, e)
		if err != nil {
			t.Fatal(err)
		}
		if out.Late {
			t.Fatalf("%s at %s is late, state is of %s", e.ID, e.Time, st.AsOf())
		}
		if store() {
			st = reload(t, s, st)
		}
	}
	return st
}

type fataler interface {
	Fatal(...any)
	Fatalf(string, ...any)
}

func encode(t fataler, s *feature.Set, st *feature.State) []byte {
	b, err := s.Append(nil, st)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func reload(t fataler, s *feature.Set, st *feature.State) *feature.State {
	st, err := s.Decode(encode(t, s, st))
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func never() bool { return false }

// exact is features.yaml without decay: everything in it is exact.
const exact = `
version: 1
features:
  - {name: n, on: [round.settled], agg: count}
  - {name: s, on: [round.settled], agg: sum, value: data.stake, where: data.win > 100}
  - {name: m, on: [round.settled], agg: mean, value: data.stake}
  - {name: r, on: [round.settled], agg: ratio, value: data.bonus_stake, of: data.stake}
  - {name: w, on: [round.settled], agg: sum, value: data.win - data.stake, horizon: {window: {size: 1h, buckets: 6}}}
  - {name: d, on: [payment.deposited], agg: sum, value: data.amount, horizon: {window: {size: 2d, buckets: 2}}}
  - {name: mx, on: [round.settled], agg: max, value: data.stake}
  - {name: mn, on: [round.settled], agg: min, value: data.stake, horizon: {window: {size: 3h, buckets: 3}}}
  - {name: la, on: [game.launched, game.failed], agg: last, value: data.load_ms}
  - {name: si, on: [round.settled], agg: since, where: data.win > data.stake}
  - {name: st, on: [round.settled], agg: streak, value: data.win < data.stake}
  - {name: di, on: [round.settled], agg: distinct, value: data.game, horizon: {window: {size: 30m}}}
  - {name: dl, on: [round.settled], agg: distinct, value: data.stake, limit: 5}
  - {name: ga, on: [round.settled], agg: gap, pause: 20m}
  - {name: fo, on: [payment.deposited], agg: follow, after: {on: [round.settled], streak: data.win < data.stake, times: 2, within: 5m}}
  - {name: sc, on: [round.settled], agg: count, horizon: {session: {gap: 3m, on: [game.launched, session.started]}}}
  - {name: ss, on: [round.settled], agg: sum, value: data.win - data.stake, horizon: {session: {gap: 3m}}}
  - {name: sm, on: [round.settled], agg: mean, value: data.stake, horizon: {session: {gap: 3m}}}
  - {name: sr, on: [round.settled], agg: ratio, value: data.win, of: data.stake, horizon: {session: {gap: 3m}}}
  - {name: sx, on: [round.settled], agg: max, value: data.stake, horizon: {session: {gap: 3m}}}
  - {name: sd, on: [round.settled], agg: duration, horizon: {session: {gap: 3m}}}
  - {name: sk, on: [round.settled], agg: streak, value: data.win < data.stake, horizon: {session: {gap: 3m}}}
  - {name: ex, expr: "m > 0.0 ? s / m : -1.0"}
reminders:
  - name: idle
    after: 90s
    set_when: [{on: [game.failed]}]
    cancel_when: [{on: [round.settled, session.ended]}]
`

func parse(t testing.TB, text string) *feature.Set {
	t.Helper()
	s, err := feature.Parse("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAnyOrderGivesTheSameBytes(t *testing.T) {
	t.Parallel()
	s := parse(t, exact)
	rapid.Check(t, func(t *rapid.T) {
		before, window := drawHistory(t, s)
		shuffled := rapid.Permutation(window).Draw(t, "order")
		slices.SortStableFunc(window, func(a, b *event.Record) int { return a.Time.Compare(b.Time) })
		want := foldAll(t, s, slices.Concat(before, window), never)
		got := foldAll(t, s, slices.Concat(before, shuffled), func() bool { return rapid.Bool().Draw(t, "store") })
		if a, b := encode(t, s, want), encode(t, s, got); !bytes.Equal(a, b) {
			t.Fatalf("in order:\n%s\nshuffled:\n%s", s.Dump(want), s.Dump(got))
		}
		sameVector(t, s, want, got, 0)
	})
}

func TestAnyOrderGivesTheSameFeatures(t *testing.T) {
	t.Parallel()
	s := load(t)
	rapid.Check(t, func(t *rapid.T) {
		before, window := drawHistory(t, s)
		shuffled := rapid.Permutation(window).Draw(t, "order")
		slices.SortStableFunc(window, func(a, b *event.Record) int { return a.Time.Compare(b.Time) })
		want := foldAll(t, s, slices.Concat(before, window), never)
		got := foldAll(t, s, slices.Concat(before, shuffled), func() bool { return rapid.Bool().Draw(t, "store") })
		sameVector(t, s, want, got, 1e-14)
		if a, b := fmt.Sprintf("%+v", s.Facts(want)), fmt.Sprintf("%+v", s.Facts(got)); a != b {
			t.Fatalf("facts differ:\n%s\n%s", a, b)
		}
	})
}

// sameVector compares features, now and later, to a relative tolerance.
func sameVector(t fataler, s *feature.Set, a, b *feature.State, tolerance float64) {
	for _, after := range []time.Duration{0, time.Minute, 20 * time.Minute, 26 * time.Hour} {
		x, y := s.Vector(nil, a, a.AsOf().Add(after)), s.Vector(nil, b, b.AsOf().Add(after))
		for i, name := range s.Names() {
			if diff := math.Abs(x[i] - y[i]); diff > tolerance*math.Max(1, math.Max(math.Abs(x[i]), math.Abs(y[i]))) {
				t.Fatalf("%s is %v in order and %v shuffled, %s later", name, x[i], y[i], after)
			}
		}
	}
}

// A rollback leaves the features as if the round had never been.
func TestRollbackUndoesItsRound(t *testing.T) {
	t.Parallel()
	s := parse(t, exact)
	rapid.Check(t, func(t *rapid.T) {
		before, window := drawHistory(t, s)
		var without []*event.Record
		undone := map[string]bool{}
		for _, e := range window {
			if r, ok := e.Data.(*event.RoundRolledback); ok {
				undone[r.Round] = true
			}
		}
		latest := start
		for _, e := range window {
			if !undone[e.ID] && e.Type != event.TypeRoundRolledback {
				without = append(without, e)
			}
			if e.Time.After(latest) {
				latest = e.Time
			}
		}
		with := foldAll(t, s, slices.Concat(before, rapid.Permutation(window).Draw(t, "order")), never)
		bare := foldAll(t, s, slices.Concat(before, without), never)
		x, y := s.Vector(nil, with, latest), s.Vector(nil, bare, latest)
		for i, name := range s.Names() {
			if x[i] != y[i] {
				t.Fatalf("%s is %v after the rollbacks and %v without the rounds", name, x[i], y[i])
			}
		}
	})
}

// Stored and continued is the same as continued: serving and training agree to the bit.
func TestStoringChangesNothing(t *testing.T) {
	t.Parallel()
	s := load(t)
	rapid.Check(t, func(t *rapid.T) {
		before, window := drawHistory(t, s)
		events := slices.Concat(before, window)
		a, _ := s.Decode(nil)
		b, _ := s.Decode(nil)
		for _, e := range events {
			x, err := s.Fold(a, e)
			if err != nil {
				t.Fatal(err)
			}
			y, err := s.Fold(b, e)
			if err != nil {
				t.Fatal(err)
			}
			if fmt.Sprint(x) != fmt.Sprint(y) {
				t.Fatalf("after %s: %v in memory, %v stored", e.ID, x, y)
			}
			b = reload(t, s, b)
			v, w := s.Vector(nil, a, a.AsOf()), s.Vector(nil, b, b.AsOf())
			for i := range v {
				if math.Float64bits(v[i]) != math.Float64bits(w[i]) {
					t.Fatalf("%s is %v in memory and %v stored", s.Names()[i], v[i], w[i])
				}
			}
		}
		if x, y := encode(t, s, a), encode(t, s, b); !bytes.Equal(x, y) {
			t.Fatalf("in memory:\n%s\nstored:\n%s", s.Dump(a), s.Dump(b))
		}
	})
}

// A state that takes event after event, many a little out of order, folds only
// the end of its timeline again. It has the features, to the bit, of one that
// is read anew, and so folds everything, after each.
func TestTheEndOfATimelineIsEnough(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]*feature.Set{"features.yaml": load(t), "exact": parse(t, exact)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			draw := rapid.Custom(func(t *rapid.T) *event.Record { return drawEvent(t, "", start) })
			var rounds []*event.Record
			a, _ := s.Decode(nil)
			b, _ := s.Decode(nil)
			for i := range 700 { // more than a timeline holds
				e := draw.Example(i)
				at := start.Add(time.Duration(i) * 2 * time.Second)
				switch rand.N(20) {
				case 0: // far behind
					at = at.Add(-rand.N(s.Lateness()))
				case 1, 2, 3, 4, 5, 6, 7:
					at = at.Add(-rand.N(150 * time.Second))
				}
				e.ID, e.Time = fmt.Sprint(i), at
				if e.Type == event.TypeRoundSettled {
					rounds = append(rounds, e)
				}
				if n := len(rounds); n > 20 && rand.N(30) == 0 {
					e = rollback(rounds[n-1-rand.N(20)], at)
					e.ID = fmt.Sprint("undo-", i)
				}
				for _, st := range []*feature.State{a, b} {
					if _, err := s.Fold(st, e); err != nil {
						t.Fatal(err)
					}
				}
				b = reload(t, s, b)
				v, w := s.Vector(nil, a, a.AsOf()), s.Vector(nil, b, b.AsOf())
				for j := range v {
					if math.Float64bits(v[j]) != math.Float64bits(w[j]) {
						t.Fatalf("after %d events %s is %v, read anew %v", i+1, s.Names()[j], v[j], w[j])
					}
				}
			}
		})
	}
}
