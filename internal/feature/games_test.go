package feature

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"pitboss/internal/event"
)

func shipped(t *testing.T) *Set {
	t.Helper()
	b, err := os.ReadFile("../../models/features.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s, err := Parse("../../models/features.yaml", b)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func play(t *testing.T, s *Set, st *State, id, game string, at time.Time) {
	t.Helper()
	info, _ := event.Lookup(event.TypeRoundSettled)
	r := &event.Record{ID: id, Source: "/p", Type: event.TypeRoundSettled, Subject: "p", Time: at, Info: info,
		Data: &event.RoundSettled{Game: game, Product: "casino", Stake: 1, Currency: "EUR"}}
	if _, err := s.Fold(st, r); err != nil {
		t.Fatal(err)
	}
}

// Rounds of 12 games over a day, in random order, through the stored form now and
// then: the recent games are the last 8 different ones, latest first.
func TestRecentGamesAreTheLatestInAnyOrder(t *testing.T) {
	t.Parallel()
	s := shipped(t)
	begin := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for try := range 200 {
		rng := rand.New(rand.NewPCG(uint64(try), 1))
		var games []string
		for range 1 + rng.IntN(60) {
			games = append(games, fmt.Sprint("game-", rng.IntN(12)))
		}
		var want []string
		for _, g := range slices.Backward(games) {
			if !slices.Contains(want, g) && len(want) < event.RecentGamesKept {
				want = append(want, g)
			}
		}
		st, err := s.Decode(nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range rng.Perm(len(games)) {
			play(t, s, st, fmt.Sprint(n), games[n], begin.Add(time.Duration(n)*20*time.Minute))
			if rng.IntN(5) == 0 {
				b, err := s.Append(nil, st)
				if err != nil {
					t.Fatal(err)
				}
				if st, err = s.Decode(b); err != nil {
					t.Fatal(err)
				}
			}
		}
		if f := s.Facts(st); !slices.Equal(f.RecentGames, want) || f.LastGame != want[0] {
			t.Fatalf("try %d: %v, last %s; want %v", try, f.RecentGames, f.LastGame, want)
		}
	}
}

// An older release stored the latest game alone. It is read, and becomes one of
// the recent games when the next one comes, or comes in late.
func TestTheGameThatAnOlderReleaseStoredIsKept(t *testing.T) {
	t.Parallel()
	s := shipped(t)
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for next, want := range map[time.Duration][]string{time.Minute: {"new", "old"}, -time.Minute: {"old", "new"}} {
		// Both releases run at once: the older one writes its register anew, with an event that came late.
		both, err := s.Decode(nil)
		if err != nil {
			t.Fatal(err)
		}
		play(t, s, both, "1", "new", noon.Add(next))
		both.write(factGame, "", position{ms: noon.UnixMilli(), key: 7}, "old")
		if f := s.Facts(both); !slices.Equal(f.RecentGames, want) {
			t.Fatalf("%v, want %v", f.RecentGames, want)
		}
		st, err := s.Decode(nil)
		if err != nil {
			t.Fatal(err)
		}
		st.write(factGame, "", position{ms: noon.UnixMilli(), key: 7}, "old")
		if f := s.Facts(st); f.LastGame != "old" || !slices.Equal(f.RecentGames, []string{"old"}) {
			t.Fatalf("%+v", f)
		}
		play(t, s, st, "1", "new", noon.Add(next))
		if f := s.Facts(st); !slices.Equal(f.RecentGames, want) || f.LastGame != want[0] {
			t.Fatalf("%v, want %v", f.RecentGames, want)
		}
	}
}
