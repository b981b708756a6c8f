package trainingset_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pitboss/internal/event"
	"pitboss/internal/feature"
	"pitboss/internal/player"
	"pitboss/internal/simulator"
	"pitboss/test/redistest"
	"pitboss/test/shipped"
)

// spinner is a player with an account, who plays rounds so far apart.
func spinner(id string, rounds int, apart time.Duration, begin time.Time) (out []*event.Record) {
	add := func(name, typ string, at time.Time, data any) {
		out = append(out, &event.Record{ID: name, Source: "/size", Type: typ, Subject: id, Time: at, Data: data})
	}
	add("account", event.TypeAccountRegistered, begin.Add(-time.Hour), &event.AccountRegistered{Jurisdiction: "SE", BirthDate: "1990-01-02",
		Brand: "lucky-harbour", Currency: "SEK", Tier: "gold", TimeZone: "Europe/Stockholm"})
	add("consent", event.TypeConsentChanged, begin.Add(-time.Hour), &event.ConsentChanged{Product: "all", Channel: "in_app", Granted: true})
	for n := range rounds {
		at := begin.Add(time.Duration(n) * apart)
		if n%50 == 25 {
			add(fmt.Sprint("deposit", n), event.TypePaymentDeposited, at, &event.Payment{Amount: 5000, Currency: "SEK"})
		}
		add(fmt.Sprint("round", n), event.TypeRoundSettled, at, &event.RoundSettled{Game: []string{"book-of-tides", "neon-fruits"}[n/30%2],
			Product: "casino", Currency: "SEK", Stake: int64(100 + n%7), Win: int64(n % 3 * 150)})
	}
	return out
}

// aDay is a day of a made-up casino: events of every kind.
func aDay(t *testing.T, players int, begin time.Time) (out []*event.Record) {
	w := simulator.New(simulator.Config{Seed: 7, Players: players, Start: begin})
	for w.Peek().Before(begin.Add(24 * time.Hour)) {
		e := w.Next()
		r, err := event.Parse(e, e.Time())
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

// TestBytesOfLightMedianAndHeavyPlayers puts players through the real store into a
// real Redis and asks it what they take. docs/state.md has the figures. What it
// proves is the bound: nobody takes more than the memory of 1024 ids, a full
// timeline and the features.
func TestBytesOfLightMedianAndHeavyPlayers(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t, redistest.Start(t))
	set, begin := shipped.Features(t), time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	now := begin
	store := player.NewStore(rdb, set, player.Config{Now: func() time.Time { return now }})
	var events []*event.Record
	events = append(events, spinner("light, 2 rounds", 2, time.Minute, begin)...)
	events = append(events, spinner("median, 20 rounds in ten minutes", 20, 30*time.Second, begin)...)
	events = append(events, spinner("heavy, 3000 rounds, one every 4 s", 3000, 4*time.Second, begin)...)
	events = append(events, spinner("heaviest, 3000 rounds, one a second", 3000, time.Second, begin)...)
	day := aDay(t, 100, begin)
	count := map[string]int{}
	for _, r := range append(events, day...) {
		now = r.Time
		count[r.Subject]++
		_, err := store.Update(t.Context(), r.Subject, player.Op[feature.State]{Key: r.Key(), At: r.Time.UnixMilli(),
			Fold: func(s *feature.State, _ bool, _ uint8) (player.Effects, error) {
				out, err := set.Fold(s, r)
				return player.Effects{Reminders: out.Reminders}, err
			}})
		if err != nil {
			t.Fatal(err)
		}
	}
	bytes := func(id string) (memory, ids, state int) {
		m, err := rdb.MemoryUsage(t.Context(), player.StateKey(id)).Result()
		if err != nil {
			t.Fatal(err)
		}
		b, err := rdb.Get(t.Context(), player.StateKey(id)).Bytes()
		if err != nil {
			t.Fatal(err)
		}
		_, st, err := player.ParseValue(b)
		if err != nil {
			t.Fatal(err)
		}
		return int(m), len(b) - len(st), len(st)
	}
	report := func(name, id string) {
		memory, ids, state := bytes(id)
		t.Logf("| %s | %d | %d | %d | %d |", name, count[id], state, ids, memory)
		if memory > 26<<10 {
			t.Errorf("%s takes %d bytes, more than 26 KB", name, memory)
		}
	}
	for _, r := range events {
		if r.ID == "account" {
			report(r.Subject, r.Subject)
		}
	}
	simulatedIDs := map[string]bool{}
	for _, r := range day {
		simulatedIDs[r.Subject] = true
	}
	ids := slices.SortedFunc(maps.Keys(simulatedIDs), func(a, b string) int {
		m, x, y := bytes(a)
		n, z, u := bytes(b)
		return cmp.Or(m-n, x+y-z-u, cmp.Compare(a, b))
	})
	for _, q := range []struct {
		name string
		q    float64
	}{{"lightest", 0}, {"median", 0.5}, {"p99", 0.99}, {"heaviest", 1}} {
		report(fmt.Sprintf("%d simulated players, a day: %s", len(ids), q.name), ids[int(q.q*float64(len(ids)-1))])
	}
}
