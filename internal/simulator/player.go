package simulator

import (
	"fmt"
	"math"
	"time"

	"pitboss/internal/event"
)

// player is a simulated person: a fixed character and a current state.
type player struct {
	w   *World
	id  string
	now time.Time

	// Character, fixed at birth.
	home     home
	born     time.Time
	stake    float64 // typical stake, minor units
	tempo    time.Duration
	patience float64 // 0–1: how much bad experience until they leave
	chaser   float64 // 0–1: how likely a losing run makes them raise and redeposit
	optIn    float64

	// State.
	session   int // counts sessions: steps of an old session are dropped
	balance   int64
	game      string
	broken    string // the game that fails for them in this session, or ""
	bet       float64
	losses    int // in a row
	annoyance float64
	left      int // rounds the player still means to play
	excluded  bool
	guest     bool // follows a fixed plan
}

// home is where a player lives.
type home struct {
	jurisdiction, currency, zone string
	weight                       float64
}

// FR has no rule pack, so that the strict default applies.
var homes = []home{
	{"GB", "GBP", "Europe/London", 0.3}, {"SE", "SEK", "Europe/Stockholm", 0.15},
	{"NL", "EUR", "Europe/Amsterdam", 0.15}, {"DE", "EUR", "Europe/Berlin", 0.1},
	{"MT", "EUR", "Europe/Malta", 0.1}, {"CA-ON", "CAD", "America/Toronto", 0.1},
	{"AU", "AUD", "Australia/Sydney", 0.05}, {"FR", "EUR", "Europe/Paris", 0.05},
}

type game struct {
	id, product string
	edge        float64 // the house's share of a stake, on average
	win         float64 // probability that a round pays
}

var games = []game{
	{"book-of-tides", "casino", 0.04, 0.27}, {"neon-fruits", "casino", 0.05, 0.31}, {"viking-vault", "casino", 0.045, 0.22},
	{"crash-comet", "casino", 0.03, 0.45}, {"roulette-royal", "live", 0.027, 0.47}, {"blackjack-7", "live", 0.01, 0.44},
	{"speed-baccarat", "live", 0.012, 0.46}, {"bingo-bay", "casino", 0.1, 0.12},
}

func (w *World) newPlayer(i int) *player {
	p := &player{w: w, id: fmt.Sprintf("sim-%x-%d", w.cfg.Seed, i)}
	x := w.rng.Float64()
	for _, h := range homes {
		if p.home = h; x < h.weight {
			break
		}
		x -= h.weight
	}
	p.born = w.cfg.Start.AddDate(-18-int(45*math.Pow(w.rng.Float64(), 1.6)), -w.rng.IntN(12), -w.rng.IntN(28))
	p.stake = math.Exp(4.2 + 1.1*w.rng.NormFloat64()) // median 67 minor units
	p.tempo = time.Duration((2 + 5*w.rng.Float64()) * float64(time.Second))
	p.patience = 0.2 + 0.8*w.rng.Float64()
	p.chaser = math.Pow(w.rng.Float64(), 2)
	p.optIn = w.rng.Float64()
	return p
}

func (p *player) emit(typ string, data any) { p.w.emit(p, typ, data) }

// then schedules do after d, unless the session has ended by then.
func (p *player) then(d time.Duration, do func(*player)) {
	session := p.session
	p.w.later(p, d, func(p *player) {
		if p.session == session {
			do(p)
		}
	})
}

// register opens the account and schedules the first session.
func (p *player) register() {
	if p.w.cfg.History {
		now := p.now
		p.now = now.Add(-beforeLeast - time.Duration(p.w.rng.Int64N(int64(beforeMost-beforeLeast))))
		p.enrol()
		p.before()
		p.now = now
	} else {
		p.enrol()
	}
	p.w.later(p, p.w.about(20*time.Second), (*player).arrive)
}

// Players with a history played some rounds minutes ago. These are part of the current
// session, so that not every player gets a welcome message, and are won as often as lost, so
// that they cause few decisions.
const (
	beforeRounds = 25 // the harm model of casino players needs 20
	beforeLeast  = 12 * time.Minute
	beforeMost   = 25 * time.Minute
)

// before plays the past rounds of a player, right after the account was opened.
func (p *player) before() {
	g := p.playing()
	for n := range beforeRounds {
		p.now = p.now.Add(p.tempo)
		r := event.RoundSettled{Game: g.id, Product: g.product, Stake: int64(math.Ceil(p.stake)), Currency: p.home.currency}
		if n%2 == 1 {
			r.Win = 2 * r.Stake
		}
		p.emit(event.TypeRoundSettled, r)
	}
}

// enrol opens the account.
func (p *player) enrol() {
	brand := "lucky-harbour"
	if p.stake > 100 {
		brand = "high-tide"
	}
	p.emit(event.TypeAccountRegistered, event.AccountRegistered{
		Jurisdiction: p.home.jurisdiction, Currency: p.home.currency, TimeZone: p.home.zone, Brand: brand,
		BirthDate: p.born.Format(time.DateOnly), Tier: []string{"blue", "silver", "gold"}[p.w.rng.IntN(3)],
	})
	for _, c := range []struct {
		product, channel string
		needs            float64
	}{{"all", "in_app", 0.3}, {"casino", "push", 0.5}, {"casino", "email", 0.6}, {"live", "in_app", 0.7}} {
		if p.optIn > c.needs {
			p.emit(event.TypeConsentChanged, event.ConsentChanged{Product: c.product, Channel: c.channel, Granted: true})
		}
	}
}

// arrive starts a session.
func (p *player) arrive() {
	if p.excluded {
		return
	}
	p.session++
	p.annoyance, p.losses, p.bet = 0, 0, p.stake
	p.left = 10 + p.w.rng.IntN(120)
	p.game = games[p.w.rng.IntN(len(games))].id
	p.broken = ""
	if p.w.chance(0.12) {
		p.broken = p.game
	}
	p.emit(event.TypeSessionStarted, event.SessionStarted{Device: []string{"ios", "android", "web"}[p.w.rng.IntN(3)]})
	if float64(p.balance) < 10*p.bet {
		p.then(p.w.about(5*time.Second), (*player).deposit)
		return
	}
	p.then(p.w.about(4*time.Second), (*player).launch)
}

func (p *player) deposit() {
	amount := int64(math.Round(p.bet*float64(20+p.w.rng.IntN(40))/100+1)) * 100
	method := []string{"card", "bank", "wallet"}[p.w.rng.IntN(3)]
	if p.w.chance(0.08) {
		p.emit(event.TypePaymentFailed, event.PaymentFailed{Operation: "deposit", Amount: amount, Currency: p.home.currency,
			Method: method, Error: []string{"declined", "timeout", "3ds_failed"}[p.w.rng.IntN(3)]})
		p.annoyed(0.35)
		if p.w.chance(0.2) {
			p.emit(event.TypeSupportContacted, event.SupportContacted{Topic: "payment", Channel: "chat"})
		}
		p.orLeave(p.w.about(8*time.Second), (*player).deposit)
		return
	}
	p.balance += amount
	p.emit(event.TypePaymentDeposited, event.Payment{Amount: amount, Currency: p.home.currency, Method: method})
	p.then(p.w.about(4*time.Second), (*player).launch)
}

func (p *player) launch() {
	g := p.playing()
	load := int64(400 + 900*p.w.rng.ExpFloat64())
	if p.game == p.broken || p.w.chance(0.01) {
		p.emit(event.TypeGameFailed, event.GameFailed{Game: g.id, Product: g.product, LoadMs: load + 8000,
			Error: []string{"load_timeout", "asset_404", "websocket_closed"}[p.w.rng.IntN(3)]})
		p.annoyed(0.4)
		if p.w.chance(0.3) {
			p.game = games[p.w.rng.IntN(len(games))].id
		}
		p.orLeave(p.w.about(6*time.Second), (*player).launch)
		return
	}
	p.emit(event.TypeGameLaunched, event.GameLaunched{Game: g.id, Product: g.product, LoadMs: load})
	p.annoyed(float64(load-1500) / 20000)
	p.then(p.tempo, (*player).play)
}

func (p *player) playing() game {
	for _, g := range games {
		if g.id == p.game {
			return g
		}
	}
	return games[0]
}
