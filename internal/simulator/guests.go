package simulator

import (
	"fmt"
	"time"

	"pitboss/internal/event"
)

// Guests demonstrate the effect of the law on marketing, at any time of day. One after the
// other they come back after a pause and deposit, for which a welcome message is eligible.
// Whether they get it depends on who they are and where they live. The list mixes guests who
// get it with guests who do not.

// guest is a player who demonstrates one case.
type guest struct {
	home
	age   int
	asked bool // opted in to everything; otherwise never asked
	loser bool // lost every earlier round and deposited again
}

// guests come in this order, over and over.
var guests = []guest{
	{home: home{"GB", "GBP", "Europe/London", 0}, age: 40, asked: true},
	{home: home{"IT", "EUR", "Europe/Rome", 0}, age: 40, asked: true}, // no advertising there
	{home: home{"GB", "GBP", "Europe/London", 0}, age: 35},
	{home: home{"SE", "SEK", "Europe/Stockholm", 0}, age: 40, asked: true},
	{home: home{"AU", "AUD", "Australia/Sydney", 0}, age: 40, asked: true},   // no online casino there
	{home: home{"CA-ON", "CAD", "America/Toronto", 0}, age: 18, asked: true}, // 19 there
	{home: home{"US-NJ", "USD", "America/New_York", 0}, age: 22, asked: true},
	{home: home{"DE", "EUR", "Europe/Berlin", 0}, age: 40, asked: true}, // no advertising of slots by day
	{home: home{"GB", "GBP", "Europe/London", 0}, age: 40, asked: true, loser: true},
	{home: home{"JP", "JPY", "Asia/Tokyo", 0}, age: 40, asked: true}, // no rule pack
	{home: home{"MT", "EUR", "Europe/Malta", 0}, age: 40, asked: true},
}

const (
	visitBefore = 45 * time.Minute // how long ago they played before: long enough for a new session
	visitRounds = 30
	visitTempo  = 2 * time.Second
	visitOver   = 5 * time.Minute // after that they answer no message any more
	doorEvery   = 10 * time.Minute
)

// door starts a guest's visit every doorEvery, for ever.
func (w *World) door() {
	n := 0
	var open func(*player)
	open = func(door *player) {
		g := guests[n%len(guests)]
		p := &player{w: w, id: fmt.Sprintf("guest-%x-%d", w.cfg.Seed, n), now: door.now, home: g.home, born: door.now.AddDate(-g.age, -1, 0), guest: true}
		w.byID[p.id] = p
		p.visit(g)
		n++
		w.later(door, time.Duration(float64(doorEvery)/w.cfg.Pace), open)
	}
	w.later(&player{w: w}, 0, open)
}

// visit puts all of a guest's events on the agenda: the past ones at once, with past times,
// the rest as they happen.
func (p *player) visit(g guest) {
	p.past(g)
	at := 3 * time.Second // by then the past events are processed
	then := func(after time.Duration, typ string, data any) {
		at += after
		p.w.later(p, at, func(p *player) { p.emit(typ, data) })
	}
	then(0, event.TypeSessionStarted, event.SessionStarted{Device: "web"})
	then(time.Second, event.TypePaymentDeposited, g.deposit())
	then(time.Second, event.TypeGameLaunched, event.GameLaunched{Game: guestGame, Product: "casino", Category: "slots", LoadMs: 700})
	for n := range 3 {
		then(visitTempo, event.TypeRoundSettled, g.round(n%2 == 1))
	}
	then(time.Second, event.TypeSessionEnded, event.SessionEnded{})
	p.w.later(p, at+visitOver, func(p *player) { delete(p.w.byID, p.id) })
}

const guestGame = "book-of-tides"

func (g *guest) round(won bool) event.RoundSettled {
	r := event.RoundSettled{Game: guestGame, Product: "casino", Category: "slots", Stake: 100, Currency: g.currency}
	if won {
		r.Win = 205
	}
	return r
}

func (g *guest) deposit() event.Payment {
	return event.Payment{Amount: 2000, Currency: g.currency, Method: "card"}
}

// past emits a guest's earlier events. A guest who loses every round and deposits three times
// gets a protection message.
func (p *player) past(g guest) {
	at := p.now.Add(-visitBefore)
	tell := func(typ string, data any) {
		at = at.Add(visitTempo)
		when := at
		p.w.later(p, 0, func(p *player) { p.w.emitAt(p, when, typ, data) })
	}
	tell(event.TypeAccountRegistered, event.AccountRegistered{Jurisdiction: g.jurisdiction, Currency: g.currency, TimeZone: g.zone, Brand: "lucky-harbour",
		BirthDate: p.born.Format(time.DateOnly), Tier: "blue"})
	if g.asked {
		tell(event.TypeConsentChanged, event.ConsentChanged{Product: "all", Channel: "all", Granted: true, Origin: "site"})
	}
	for range 3 {
		if g.loser {
			tell(event.TypePaymentDeposited, g.deposit())
		}
	}
	for n := range visitRounds {
		tell(event.TypeRoundSettled, g.round(!g.loser && n%2 == 1))
	}
}
