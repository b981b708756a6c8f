package feature_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"pitboss/internal/event"
	"pitboss/internal/feature"
)

// bet is a round in short.
type bet struct {
	at         time.Duration
	stake, win int64
	game       string
}

// Each aggregation against values worked out by hand.
func TestAggregations(t *testing.T) {
	t.Parallel()
	bets := []bet{{0, 100, 0, "a"}, {time.Minute, 200, 500, "b"}, {3 * time.Minute, 100, 100, "a"}, {40 * time.Minute, 50, 0, "c"}, {41 * time.Minute, 70, 0, "c"}}
	s41 := 41 * 60.0
	half := func(minutes float64) float64 { return math.Exp2(-minutes / 60) }
	for _, tc := range []struct {
		decl string
		want float64
	}{
		{`agg: count`, 5},
		{`agg: count, where: "data.win == 0"`, 3},
		{`agg: sum, value: data.stake - data.win`, -80},
		{`agg: sum, value: "data.win > data.stake"`, 1},
		{`agg: sum, value: double(data.stake) / 8.0`, 65},
		{`agg: mean, value: data.stake`, 104},
		{`agg: ratio, value: data.win, of: data.stake`, 600.0 / 520},
		{`agg: max, value: data.stake`, 200},
		{`agg: min, value: data.stake`, 50},
		{`agg: last, value: data.stake`, 70},
		{`agg: last, value: data.stake, where: "data.win > 0"`, 100},
		{`agg: since`, 0},
		{`agg: since, where: "data.win > data.stake"`, 40 * 60},
		{`agg: since, where: "data.stake > 1000"`, 2592000},
		{`agg: since, where: "data.stake > 1000", empty: 7`, 7},
		{`agg: streak, value: data.win < data.stake`, 2},
		{`agg: streak, value: data.win >= data.stake`, 0},
		{`agg: changes, value: data.game`, 4},
		{`agg: changes, value: event.day`, 1},
		{`agg: changes, value: data.stake > 150`, 3},
		{`agg: changes, value: data.game, where: "data.win == 0"`, 2},
		{`agg: changes, value: data.game, horizon: {session: {gap: 30m}}`, 1},
		{`agg: distinct, value: data.game`, 3},
		{`agg: distinct, value: data.game, limit: 2`, 2},
		{`agg: gap`, s41 / 4},
		{`agg: gap, pause: 30m`, (60 + 120 + 60) / 3.0},
		{`agg: count, horizon: {decay: {half_life: 1h}}`, half(41) + half(40) + half(38) + half(1) + 1},
		{`agg: mean, value: data.stake, horizon: {decay: {half_life: 1h}}`,
			(100*half(41) + 200*half(40) + 100*half(38) + 50*half(1) + 70) / (half(41) + half(40) + half(38) + half(1) + 1)},
		{`agg: sum, value: data.stake, horizon: {window: {size: 30m, buckets: 30}}`, 120},
		{`agg: sum, value: data.stake, horizon: {window: {size: 39m, buckets: 39}}`, 220},
		{`agg: max, value: data.stake, horizon: {window: {size: 30m, buckets: 30}}`, 70},
		{`agg: last, value: data.stake, where: "data.win > 0", horizon: {window: {size: 38m}}`, 0},
		{`agg: last, value: data.stake, where: "data.win > 0", horizon: {window: {size: 39m}}`, 100},
		{`agg: distinct, value: data.game, horizon: {window: {size: 39m}}`, 2},
		{`agg: count, horizon: {session: {gap: 30m}}`, 2},
		{`agg: count, horizon: {session: {gap: 37m}}`, 5},
		{`agg: sum, value: data.stake, horizon: {session: {gap: 30m}}`, 120},
		{`agg: mean, value: data.stake, horizon: {session: {gap: 30m}}`, 60},
		{`agg: max, value: data.stake, horizon: {session: {gap: 30m}}`, 70},
		{`agg: duration, horizon: {session: {gap: 30m}}`, 60},
		{`agg: duration, horizon: {session: {gap: 1h}}`, s41},
		{`agg: distinct, value: data.game, horizon: {session: {gap: 30m}}`, 1},
		{`agg: mean, value: event.hour < 6`, 0.2}, // 05:59:30, then six and later
		{`agg: distinct, value: event.day`, 1},
		{`agg: count, where: "data.game in ['a', 'b']"`, 3},
		{`agg: count, where: "data.game.startsWith('a')"`, 2}, // left to CEL's interpreter
		{`agg: count, where: "data.stake / data.win > 0"`, 1}, // division by zero does not count
	} {
		t.Run(tc.decl, func(t *testing.T) {
			t.Parallel()
			s := parse(t, "version: 1\nfeatures: [{name: x, on: [round.settled], "+tc.decl+"}]\n")
			st, _ := s.Decode(nil)
			at := time.Date(2026, 3, 1, 5, 59, 30, 0, time.UTC)
			for i, b := range bets {
				if _, err := s.Fold(st, record(event.TypeRoundSettled, fmt.Sprint(i), at.Add(b.at),
					&event.RoundSettled{Game: b.game, Product: "casino", Stake: b.stake, Win: b.win, Currency: "EUR"})); err != nil {
					t.Fatal(err)
				}
				st = reload(t, s, st)
			}
			if got := s.Vector(nil, st, st.AsOf())[0]; math.Abs(got-tc.want) > 1e-9 {
				t.Errorf("is %v, want %v\n%s", got, tc.want, s.Dump(st))
			}
		})
	}
}

func TestFollowCountsWhatComesSoonAfterAStreak(t *testing.T) {
	t.Parallel()
	s := parse(t, `
version: 1
features:
  - {name: chase, on: [payment.deposited], agg: follow, after: {on: [round.settled], streak: data.win < data.stake, times: 2, within: 5m}}
  - {name: any, on: [support.contacted], agg: follow, after: {on: [payment.failed], within: 5m}}
`)
	st, _ := s.Decode(nil)
	n := 0
	fold := func(at time.Duration, typ string, data any) {
		n++
		if _, err := s.Fold(st, record(typ, fmt.Sprint(n), start.Add(at), data)); err != nil {
			t.Fatal(err)
		}
	}
	lost, won := &event.RoundSettled{Game: "a", Stake: 5}, &event.RoundSettled{Game: "a", Stake: 5, Win: 9}
	deposit := &event.Payment{Amount: 1}
	fold(0, event.TypePaymentDeposited, deposit) // after nothing
	fold(1*time.Minute, event.TypeRoundSettled, lost)
	fold(2*time.Minute, event.TypePaymentDeposited, deposit) // after one loss only
	fold(3*time.Minute, event.TypeRoundSettled, lost)
	fold(4*time.Minute, event.TypePaymentDeposited, deposit) // counts
	fold(5*time.Minute, event.TypeRoundSettled, won)
	fold(6*time.Minute, event.TypePaymentDeposited, deposit)                                  // counts: soon after all the same
	fold(9*time.Minute, event.TypePaymentDeposited, deposit)                                  // 6 min after the streak
	fold(10*time.Minute, event.TypePaymentFailed, &event.PaymentFailed{Operation: "deposit"}) // any
	fold(11*time.Minute, event.TypeSupportContacted, &event.SupportContacted{Topic: "payment"})
	if v := s.Vector(nil, st, st.AsOf()); v[0] != 2 || v[1] != 1 {
		t.Errorf("chase %v, want 2; any %v, want 1", v[0], v[1])
	}
}

func TestFacts(t *testing.T) {
	t.Parallel()
	s := load(t)
	st, _ := s.Decode(nil)
	n := 0
	fold := func(at time.Duration, typ string, data any) feature.Outcome {
		n++
		out, err := s.Fold(st, record(typ, fmt.Sprint(n), start.Add(at), data))
		if err != nil {
			t.Fatal(err)
		}
		st = reload(t, s, st)
		return out
	}
	until := start.AddDate(0, 6, 0)
	fold(0, event.TypeAccountRegistered, &event.AccountRegistered{Jurisdiction: "SE", Brand: "b", Currency: "SEK", BirthDate: "1990-01-02"})
	fold(time.Hour, event.TypeAccountUpdated, &event.Account{Tier: "gold", Licensee: "north", Affordability: "clear"})
	fold(time.Hour, event.TypeConsentChanged, &event.ConsentChanged{Product: "casino", Channel: "email", Granted: true, Origin: "site", Given: start})
	fold(time.Hour, event.TypeConsentChanged, &event.ConsentChanged{Product: "casino", Channel: "sms", Granted: true, Origin: "phone", Given: start.AddDate(0, 0, -9)})
	fold(time.Hour, event.TypeExcluded, &event.Excluded{Scheme: "Spelpaus", Until: until})
	fold(time.Hour, event.TypeExcluded, &event.Excluded{Scheme: "operator"})
	fold(2*time.Hour, event.TypeReinstated, &event.Reinstated{Scheme: "operator"})
	fold(time.Hour, event.TypeLimitSet, &event.LimitSet{Limit: "deposit", Period: "month", Amount: 50000, Currency: "SEK", Basis: "net"})
	fold(2*time.Hour, event.TypeLimitReached, &event.LimitReached{Limit: "deposit", Period: "month"})
	fold(time.Hour, event.TypeIndicatorRaised, &event.IndicatorRaised{Group: "time", Strength: "strong"})
	fold(time.Hour, event.TypeIndicatorRaised, &event.IndicatorRaised{Group: "spend", Strength: "low"})
	fold(2*time.Hour, event.TypeIndicatorRaised, &event.IndicatorRaised{Group: "spend", Strength: "none"})
	fold(2*time.Hour, event.TypeBonusGranted, &event.BonusGranted{Bonus: "welcome"})
	fold(3*time.Hour, event.TypeGameLaunched, &event.GameLaunched{Game: "neon"})
	fold(3*time.Hour, event.TypeGameFailed, &event.GameFailed{Game: "reef", Error: "timeout"})
	fold(3*time.Hour, event.TypeGameLaunched, &event.GameLaunched{Game: "neon", Product: "casino", Category: "slots"})
	// Facts are never late: an opt-out of an hour and a half ago counts, an older account does not.
	if out := fold(90*time.Minute, event.TypeConsentChanged, &event.ConsentChanged{Product: "casino", Channel: "email"}); !out.Late || !out.Changed {
		t.Errorf("the late opt-out: %+v", out)
	}
	if out := fold(-time.Hour, event.TypeAccountUpdated, &event.Account{Brand: "old"}); !out.Late || out.Changed {
		t.Errorf("the old account: %+v", out)
	}
	want := event.Facts{Jurisdiction: "SE", BirthDate: "1990-01-02", Brand: "b", Currency: "SEK", Tier: "gold",
		Consents: map[string]bool{"casino/email": false, "casino/sms": true}, Origins: map[string]string{"casino/sms": "phone"},
		Given: map[string]time.Time{"casino/sms": start.AddDate(0, 0, -9)}, Returned: start.Add(2 * time.Hour),
		Exclusions: []event.Exclusion{{Scheme: "Spelpaus", Since: start.Add(time.Hour), Until: until}},
		Limits:     map[string]event.Limit{"deposit/month": {Amount: 50000, Currency: "SEK", Reached: start.Add(2 * time.Hour), Basis: "net"}},
		Indicators: map[string]string{"time": "strong"}, Cleared: map[string]time.Time{"spend": start.Add(2 * time.Hour)},
		Licensee: "north", Affordability: "clear", LastProduct: "casino", LastCategory: "slots", BonusEver: true, LastGame: "neon", FailedGame: "reef", RecentGames: []string{"neon"}}
	if got := fmt.Sprintf("%+v", s.Facts(st)); got != fmt.Sprintf("%+v", want) {
		t.Errorf("facts\n%s\nwant\n%+v", got, want)
	}
}

// The calendar month: it begins anew on the first day, whatever its length.
func TestMonth(t *testing.T) {
	t.Parallel()
	s, err := feature.Parse("test.yaml", []byte("version: 1\nfeatures:\n  - {name: in_month, on: [payment.deposited], value: data.amount, agg: sum, horizon: month}\n"))
	if err != nil {
		t.Fatal(err)
	}
	st, _ := s.Decode(nil)
	for day := range 120 {
		at := time.Date(2026, 1, 1+day, 23, 59, 59, 0, time.UTC)
		if _, err := s.Fold(st, record(event.TypePaymentDeposited, fmt.Sprint(day), at, &event.Payment{Amount: 100, Currency: "EUR"})); err != nil {
			t.Fatal(err)
		}
		st = reload(t, s, st)
		if got := s.Vector(nil, st, at)[0]; got != float64(100*at.Day()) {
			t.Fatalf("%s: %v", at, got)
		}
		if got := s.Vector(nil, st, at.Add(time.Second))[0]; at.Add(time.Second).Day() == 1 && got != 0 {
			t.Fatalf("%s: the next month begins with %v", at, got)
		}
	}
}

// A month of a time zone begins at its midnight there, in summer and in winter.
func TestMonthOfAPlace(t *testing.T) {
	t.Parallel()
	s, err := feature.Parse("test.yaml", []byte("version: 1\nfeatures:\n  - {name: in_month, on: [payment.deposited], value: data.amount, agg: sum, horizon: {month: {zone: Europe/Amsterdam}}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	amsterdam, err := time.LoadLocation("Europe/Amsterdam")
	if err != nil {
		t.Fatal(err)
	}
	st, _ := s.Decode(nil)
	want := 0.0
	for hour := range 24 * 200 {
		at := time.Date(2026, 2, 1, 0, 30, 0, 0, time.UTC).Add(time.Duration(hour) * time.Hour)
		if local := at.In(amsterdam); local.Day() == 1 && local.Hour() == 0 {
			want = 0
		}
		want++
		if _, err := s.Fold(st, record(event.TypePaymentDeposited, fmt.Sprint(hour), at, &event.Payment{Amount: 1, Currency: "EUR"})); err != nil {
			t.Fatal(err)
		}
		if hour%24 == 0 {
			st = reload(t, s, st)
		}
		if got := s.Vector(nil, st, at)[0]; got != want {
			t.Fatalf("%s: %v, want %v", at.In(amsterdam), got, want)
		}
	}
	if _, err := feature.Parse("test.yaml", []byte("version: 1\nfeatures:\n  - {name: in_month, on: [payment.deposited], value: data.amount, agg: sum, horizon: {month: {zone: Europe/Nowhere}}}\n")); err == nil {
		t.Error("a month of a place that is nowhere")
	}
}

func TestLateEventsAreKeptOutAndCounted(t *testing.T) {
	t.Parallel()
	s := load(t)
	st, _ := s.Decode(nil)
	round := func(id string, at time.Duration) feature.Outcome {
		out, err := s.Fold(st, record(event.TypeRoundSettled, id, start.Add(at), &event.RoundSettled{Game: "a", Stake: 1, Product: "casino", Currency: "EUR"}))
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	round("1", time.Hour)
	if out := round("2", time.Hour-s.Lateness()); out.Late {
		t.Error("an event at the edge of the lateness window is late")
	}
	before := encode(t, s, st)
	if out := round("3", time.Hour-s.Lateness()-time.Millisecond); !out.Late || out.Changed {
		t.Errorf("an event beyond the lateness window: %+v", out)
	}
	if string(before) != string(encode(t, s, st)) {
		t.Error("a late event changed the state")
	}
	if applied, late := st.Counts(); applied != 2 || late != 1 {
		t.Errorf("%d applied, %d late: want 2 and 1", applied, late)
	}
}
