package policy

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pitboss/internal/event"
	"pitboss/internal/feature"
)

// lived is one player's life, folded by the declared features, with the markers
// that the policy sees after each event.
type lived struct {
	p     *Policy
	set   *feature.Set
	state *feature.State
	draw  func(max int) int // a number from 0 to max
	noise bool              // other things happen in between
	n     int
	at    time.Time
	units float64 // of the currency, about one pound
	money string

	true map[string]time.Time // markers that hold by their numbers, since when they were last found to
	seen map[string]bool      // markers that ever did
	late []string             // markers that began to hold, and no decision was due
}

func (l *lived) event(typ string, data any) {
	info, _ := event.Lookup(typ)
	l.n++
	out, err := l.set.Fold(l.state, &event.Record{ID: fmt.Sprint(l.n), Source: "/lived", Type: typ, Subject: "p", Time: l.at, Info: info, Data: data})
	if err != nil {
		panic(err)
	}
	in := &Input{Decision: "d", Player: "p", Now: l.state.AsOf(), AsOf: l.state.AsOf(), Facts: l.set.Facts(l.state),
		Features: l.set.Vector(nil, l.state, l.state.AsOf()), Contacts: &Contacts{}}
	for _, m := range l.p.evaluate(in).markers {
		last, before := l.true[m.ID]
		if !before || l.at.Sub(last) >= 10*time.Minute { // what it held a moment ago, decide has seen, and holds on to
			if len(out.Due) == 0 {
				l.late = append(l.late, fmt.Sprintf("%s at %s %v", m.ID, typ, l.at))
			}
		}
		l.true[m.ID], l.seen[m.ID] = l.at, true
	}
}

// then is an event after a while, with something else before it at times.
func (l *lived) then(after time.Duration, typ string, data any) {
	l.at = l.at.Add(after)
	if l.noise && l.draw(5) == 0 {
		l.anything()
	}
	l.event(typ, data)
}

func (l *lived) anything() {
	l.at = l.at.Add(time.Second)
	switch l.draw(6) {
	case 0:
		l.event(event.TypePaymentDeposited, &event.Payment{Amount: l.pence(1000), Currency: l.money, Method: "card"})
	case 1:
		l.event(event.TypePaymentWithdrawn, &event.Payment{Amount: l.pence(20000 * l.draw(4)), Currency: l.money, Method: "bank"})
	case 2:
		l.event(event.TypeAccountUpdated, &event.Account{Affordability: []string{"clear", "vulnerable", "pending"}[l.draw(2)]})
	case 3:
		l.event(event.TypeSessionStarted, &event.SessionStarted{})
	case 4:
		l.event(event.TypeAccountUpdated, &event.Account{TimeZone: []string{"Europe/London", "Australia/Sydney", "America/Toronto"}[l.draw(2)]})
	case 5:
		l.event(event.TypeAccountUpdated, &event.Account{Jurisdiction: []string{"GB", "NL", "ES", "SE", "JP"}[l.draw(4)]})
	default:
		l.bet(0, 100, 0)
	}
}

// pence is money in the player's currency.
func (l *lived) pence(pounds int) int64 { return int64(float64(pounds)*l.units) + 1 }

func (l *lived) deposit(after time.Duration, pence int) {
	l.then(after, event.TypePaymentDeposited, &event.Payment{Amount: l.pence(pence), Currency: l.money, Method: "card"})
}

func (l *lived) bet(after time.Duration, stake, win int) {
	l.at = l.at.Add(after)
	l.event(event.TypeRoundSettled, &event.RoundSettled{Game: "g", Product: "casino", Category: "slots", Stake: l.pence(stake), Win: int64(float64(win) * l.units), Currency: l.money})
}

func (l *lived) bets(n int, every time.Duration, stake, win int) {
	for range n {
		if l.noise && l.draw(40) == 0 {
			l.anything()
		}
		l.bet(every, stake, win)
	}
}

func (l *lived) failed(operation, method string, cancelled bool) {
	l.then(time.Minute, event.TypePaymentFailed, &event.PaymentFailed{Operation: operation, Amount: l.pence(1000), Currency: l.money, Method: method, Error: "declined", Cancelled: cancelled})
}

func times(n int, do func()) {
	for range n {
		do()
	}
}

// lives raise each marker: a marker without one fails the test.
var lives = map[string]func(l *lived){
	"MK-DEPOSITS-DAY": func(l *lived) { times(11, func() { l.deposit(time.Hour, 50000) }) },
	"MK-DEPOSITS-30D": func(l *lived) { times(11, func() { l.deposit(24*time.Hour, 20000) }) },
	"MK-LOSS-PAST": func(l *lived) {
		times(10, func() { l.bet(24*time.Hour, 1000, 0) })
		l.at = l.at.Add(24 * time.Hour)
		l.bets(20, 20*time.Second, 2000, 0)
	},
	"MK-BINGE": func(l *lived) {
		times(3, func() { l.deposit(time.Minute, 2000) })
		l.bets(30, 10*time.Second, 100, 0)
	},
	"MK-CHASE": func(l *lived) {
		times(4, func() { l.bets(6, 5*time.Second, 100, 0); l.deposit(time.Minute, 2000) })
	},
	"MK-CHASE-LOW": func(l *lived) {
		times(3, func() { l.bets(6, 5*time.Second, 100, 0); l.deposit(time.Minute, 2000) })
	},
	"MK-DECLINED": func(l *lived) { times(3, func() { l.failed("deposit", "card", false) }) },
	"MK-DECLINED-LOSING": func(l *lived) {
		times(4, func() { l.failed("deposit", "card", false) })
		l.bets(8, 5*time.Second, 100, 0)
	},
	"MK-STAKES": func(l *lived) {
		l.bets(120, 5*time.Second, 100, 101)
		l.at = l.at.Add(24 * time.Hour)
		l.bets(6, 5*time.Second, 2000, 2001)
	},
	"MK-SESSION":      func(l *lived) { l.bets(60, 4*time.Minute, 100, 101) },
	"MK-SESSION-LONG": func(l *lived) { l.bets(120, 4*time.Minute, 100, 101) },
	"MK-NIGHT":        func(l *lived) { l.bets(1500, time.Minute, 100, 101) }, // whatever the zone, a night is among it
	"MK-TIME-PAST": func(l *lived) {
		times(15, func() { l.bet(24*time.Hour, 100, 101) })
		l.bets(400, 5*time.Second, 100, 101)
	},
	"MK-CANCELLED": func(l *lived) { times(2, func() { l.failed("withdrawal", "bank", true) }) },
	"MK-SWITCH": func(l *lived) {
		for _, product := range []string{"casino", "live", "sports", "bingo", "poker"} {
			l.then(time.Hour, event.TypeRoundSettled, &event.RoundSettled{Game: "g", Product: product, Stake: l.pence(100), Win: 1, Currency: l.money})
		}
	},
	"MK-CONTACT": func(l *lived) {
		l.then(time.Minute, event.TypeSupportContacted, &event.SupportContacted{Topic: "account"})
		l.then(time.Minute, event.TypeSupportContacted, &event.SupportContacted{Topic: "harm"})
	},
	"MK-LIMITS-HIT": func(l *lived) {
		times(3, func() {
			l.then(time.Hour, event.TypeLimitReached, &event.LimitReached{Limit: "deposit", Period: "day"})
		})
	},
	"MK-LIMITS-RAISED": func(l *lived) {
		times(2, func() {
			l.then(time.Hour, event.TypeLimitSet, &event.LimitSet{Limit: "deposit", Period: "day", Amount: 2000, Previous: 1000})
		})
	},
	"MK-METHODS": func(l *lived) {
		for _, method := range []string{"card", "bank", "wallet", "voucher"} {
			l.failed("deposit", method, false)
		}
	},
	"MK-NL-YOUNG": func(l *lived) {
		times(3, func() { l.deposit(time.Minute, 10000) })
		l.then(time.Minute, event.TypeAccountUpdated, &event.Account{Jurisdiction: "NL", BirthDate: l.at.AddDate(-20, 0, -3).Format(time.DateOnly)})
	},
	"MK-ES-INTENSE": func(l *lived) {
		l.event(event.TypeAccountUpdated, &event.Account{Jurisdiction: "ES"})
		l.bets(60, time.Minute, 1000, 0)
	},
	"MK-DUTY-SIGNS": func(l *lived) {
		l.event(event.TypeAccountUpdated, &event.Account{Jurisdiction: "SE"})
		l.bets(30, 5*time.Minute, 100, 101)
		l.bets(20, time.Minute, 100, 0)
	},
}

func newLife(p *Policy, set *feature.Set, draw func(int) int, noise bool) *lived {
	l := &lived{p: p, set: set, draw: draw, noise: noise, at: time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC), true: map[string]time.Time{}, seen: map[string]bool{}}
	l.state, _ = set.Decode(nil)
	l.at = l.at.Add(time.Duration(draw(86400)) * time.Second)
	l.money = []string{"GBP", "EUR", "SEK", "XXX"}[draw(3)]
	l.units = 1
	if units, ok := p.signs.Currencies[l.money]; ok {
		l.units = units
	}
	l.event(event.TypeAccountRegistered, &event.AccountRegistered{Jurisdiction: []string{"GB", "SE", "JP"}[draw(2)], Currency: l.money, BirthDate: "1986-01-01",
		TimeZone: []string{"Europe/London", "Australia/Sydney", "America/Toronto"}[draw(2)]})
	return l
}

// Whatever event makes a marker of harm hold, a decision is due at that event:
// every marker of markers.yaml is tried.
func TestWhatRaisesAMarkerMakesADecisionDue(t *testing.T) {
	t.Parallel()
	p := policy(t)
	set, err := feature.Load("../../models/features.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, m := range p.Markers() {
		ids = append(ids, m.ID)
		life, ok := lives[m.ID]
		if !ok {
			t.Errorf("%s is not tried: give it a life", m.ID)
			continue
		}
		for _, kind := range []int{0, 1, 2, 3} { // of the player: each choice the same one
			l := newLife(p, set, func(most int) int { return min(kind, most) }, false)
			life(l)
			if !l.seen[m.ID] {
				t.Errorf("%s was not raised by its life (%d)", m.ID, kind)
			}
			if len(l.late) > 0 {
				t.Errorf("%s (%d): no decision was due: %v", m.ID, kind, l.late)
			}
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		l := newLife(p, set, func(most int) int { return rapid.IntRange(0, most).Draw(t, "n") }, true)
		for range rapid.IntRange(1, 2).Draw(t, "lives") { // one after another
			lives[rapid.SampledFrom(slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return lives[id] == nil })).Draw(t, "marker")](l)
		}
		if len(l.late) > 0 {
			t.Fatalf("no decision was due: %v", l.late)
		}
	})
}
