package feature_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pitboss/internal/event"
	"pitboss/internal/feature"
)

// Two releases: the newer one declares more features, of every kind.
const older = `
version: 1
features:
  - {name: n, on: [round.settled], agg: count}
  - {name: streak, on: [round.settled], agg: streak, value: data.win < data.stake}
  - {name: hour, on: [round.settled], agg: sum, value: data.stake, horizon: {decay: {half_life: 1h}}}
`

const newer = older + `
  - {name: last, on: [round.settled], agg: last, value: data.stake + 1}
  - {name: games, on: [round.settled], agg: distinct, value: data.game}
  - {name: day, on: [round.settled], agg: sum, value: data.win, horizon: {window: {size: 1d, buckets: 24}}}
  - {name: ratio, on: [round.settled], agg: mean, value: double(data.stake) / 3.0, horizon: {session: {gap: 1h}}}
  - {name: deposits, on: [payment.deposited], agg: last, value: data.amount}
reminders:
  - {name: r, after: 90s, set_when: [{on: [game.failed]}]}
`

// A state written by the newer release passes through the older one, which
// folds an event into it, and nothing the newer one knows is lost.
func TestOlderReleaseKeepsWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	from, to := parse(t, newer), parse(t, older)
	rapid.Check(t, func(t *rapid.T) {
		before, window := drawHistory(t, from)
		events := slices.Concat(before, window)
		a := foldAll(t, from, events, never)
		want := from.Vector(nil, a, a.AsOf())
		session := record(event.TypeSessionStarted, "s", a.AsOf(), &event.SessionStarted{})

		b, err := to.Decode(encode(t, from, a))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := to.Fold(b, session); err != nil {
			t.Fatal(err)
		}
		b = reload(t, to, b)
		c, err := from.Decode(encode(t, to, b))
		if err != nil {
			t.Fatal(err)
		}
		got := from.Vector(nil, c, c.AsOf())
		if !slices.Equal(got, want) {
			t.Fatalf("%v\n%v, want %v\nbefore %s\nafter %s", from.Names(), got, want, from.Dump(a), from.Dump(c))
		}
		// The round goes on as if the older release had never held the state.
		round := record(event.TypeRoundSettled, "r", a.AsOf().Add(time.Second), &event.RoundSettled{Game: "z", Stake: 7, Win: 1})
		for _, st := range []*feature.State{a, c} {
			if _, err := from.Fold(st, round); err != nil {
				t.Fatal(err)
			}
		}
		if x, y := from.Vector(nil, a, a.AsOf()), from.Vector(nil, c, c.AsOf()); !slices.Equal(x, y) {
			t.Fatalf("one round later: %v, want %v", y, x)
		}
	})
}

// A state written by the older release is read by the newer one: what both
// know is there, what is new starts empty.
func TestNewerReleaseReadsOlderState(t *testing.T) {
	t.Parallel()
	from, to := parse(t, older), parse(t, newer)
	st := played(t, from, 10, time.Minute)
	got, err := to.Decode(encode(t, from, st))
	if err != nil {
		t.Fatal(err)
	}
	v, w := from.Vector(nil, st, st.AsOf()), to.Vector(nil, got, st.AsOf())
	if !slices.Equal(v, w[:3]) {
		t.Errorf("%v, want %v", w[:3], v)
	}
	if !slices.Equal(w[3:], make([]float64, len(w)-3)) {
		t.Errorf("new features are %v, want zeros", w[3:])
	}
}

// A changed declaration is another slot: it starts empty, the others stay.
func TestChangedDeclarationStartsEmpty(t *testing.T) {
	t.Parallel()
	from := parse(t, older)
	to := parse(t, strings.Replace(older, "half_life: 1h", "half_life: 2h", 1))
	renamed := parse(t, strings.Replace(older, "name: hour", "name: stakes", 1))
	st := played(t, from, 10, time.Minute)
	v := from.Vector(nil, st, st.AsOf())
	for _, tc := range []struct {
		set  *feature.Set
		want float64
	}{{to, 0}, {renamed, v[2]}} {
		got, err := tc.set.Decode(encode(t, from, st))
		if err != nil {
			t.Fatal(err)
		}
		if w := tc.set.Vector(nil, got, st.AsOf()); w[0] != v[0] || w[1] != v[1] || w[2] != tc.want {
			t.Errorf("%v after %v, want the third to be %v", w, v, tc.want)
		}
		if tc.set.Hash() == from.Hash() {
			t.Error("the feature set's hash did not change")
		}
	}
}

// Sections of a later format are kept as they are.
func TestUnknownSectionsAreWrittenBack(t *testing.T) {
	t.Parallel()
	s := load(t)
	foreign := append([]byte{99}, append([]byte{5}, "later"...)...)
	st, err := s.Decode(append(encode(t, s, played(t, s, 3, time.Minute)), foreign...))
	if err != nil {
		t.Fatal(err)
	}
	if b := encode(t, s, st); !bytes.Contains(b, foreign) {
		t.Errorf("%q is gone from %q", foreign, b)
	}
}

func TestEncodeDecodeIsIdentity(t *testing.T) {
	t.Parallel()
	s := load(t)
	rapid.Check(t, func(t *rapid.T) {
		before, window := drawHistory(t, s)
		b := encode(t, s, foldAll(t, s, slices.Concat(before, window), never))
		st, err := s.Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		if again := encode(t, s, st); !bytes.Equal(b, again) {
			t.Fatalf("%x\nbecame\n%x", b, again)
		}
	})
}

func TestCutStateIsRefused(t *testing.T) {
	t.Parallel()
	s := load(t)
	b := encode(t, s, played(t, s, 60, time.Second))
	refused := 0
	for n := 1; n < len(b); n++ {
		if _, err := s.Decode(b[:n]); err != nil {
			refused++
		}
	}
	if refused < len(b)-8 { // a cut between two sections can't be seen
		t.Errorf("%d of %d cuts were refused", refused, len(b)-1)
	}
	b[0] = 77
	if _, err := s.Decode(b); err == nil || !strings.Contains(err.Error(), "version 77") {
		t.Errorf("a state of version 77: %v", err)
	}
}

// Whatever the bytes, Decode answers, and what it accepts can be used.
func FuzzDecode(f *testing.F) {
	s := load(f)
	for _, n := range []int{0, 1, 20, 600} {
		f.Add(encode(f, s, played(f, s, n, time.Second)))
	}
	round := &event.RoundSettled{Game: "a", Product: "casino", Currency: "EUR", Stake: 5, Win: 9}
	f.Fuzz(func(t *testing.T, b []byte) {
		st, err := s.Decode(b)
		if err != nil {
			return
		}
		at := start
		for _, e := range []*event.Record{
			record(event.TypeRoundSettled, "1", at, round),
			rollback(record(event.TypeRoundSettled, "1", at, round), at.Add(time.Minute)),
			record(event.TypeGameFailed, "2", at.Add(time.Hour), &event.GameFailed{Game: "a"}),
		} {
			if _, err := s.Fold(st, e); err != nil {
				t.Fatal(err)
			}
		}
		for _, x := range s.Vector(nil, st, st.AsOf()) {
			if x-x != 0 {
				t.Fatalf("a feature is %v", x)
			}
		}
		s.Facts(st)
		reload(t, s, st)
	})
}
