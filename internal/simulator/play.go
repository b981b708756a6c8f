package simulator

import (
	"math"
	"time"

	"pitboss/internal/event"
)

// play settles one round and decides what comes next.
func (p *player) play() {
	g := p.playing()
	stake := min(int64(math.Max(1, math.Round(p.bet*(0.8+0.4*p.w.rng.Float64())))), p.balance)
	if stake < 1 {
		p.broke()
		return
	}
	var win int64
	if p.w.chance(g.win) {
		win = int64(float64(stake) * (1 - g.edge) / g.win * min(p.w.rng.ExpFloat64(), 8))
	}
	p.balance += win - stake
	r := event.RoundSettled{Game: g.id, Product: g.product, Stake: stake, Win: win, Currency: p.home.currency,
		DurationMs: p.tempo.Milliseconds()}
	settled := p.w.emit(p, event.TypeRoundSettled, r)
	if p.w.chance(0.002) {
		p.rollback(settled.ID(), p.now, r)
	}
	p.feel(win > stake)
	p.left--
	switch {
	case p.left <= 0:
		p.leave()
	case p.w.chance(0.004):
		p.limits()
		p.orLeave(p.tempo, (*player).play)
	case p.w.chance(0.01):
		p.game = games[p.w.rng.IntN(len(games))].id
		p.orLeave(p.w.about(5*time.Second), (*player).launch)
	default:
		p.orLeave(p.tempo/2+p.w.about(p.tempo/2), (*player).play)
	}
}

// rollback voids a round a little later.
func (p *player) rollback(id string, settled time.Time, r event.RoundSettled) {
	p.w.later(p, p.w.about(3*time.Second), func(p *player) {
		p.balance += r.Stake - r.Win
		p.emit(event.TypeRoundRolledback, event.RoundRolledback{Round: id, Settled: settled, Reason: "provider_error", RoundSettled: r})
	})
}

// feel moves the player's mood and, for those who chase, the stake.
func (p *player) feel(won bool) {
	if won {
		p.losses = 0
		p.annoyance *= 0.9
		p.bet = math.Max(p.stake, p.bet*0.9)
		return
	}
	p.losses++
	if p.losses >= 5 {
		p.annoyed(0.02)
		if p.w.chance(p.chaser * 0.5) {
			p.bet = math.Min(p.bet*1.6, 40*p.stake)
			p.left += 5
		}
	}
}

// broke deposits again, more often if the player chases, or leaves.
func (p *player) broke() {
	if p.w.chance(0.25 + 0.65*p.chaser) {
		p.then(p.w.about(20*time.Second), (*player).deposit)
		return
	}
	p.leave()
}

func (p *player) annoyed(by float64) {
	p.annoyance = math.Max(0, p.annoyance+by)
}

// orLeave goes on with do after d, unless the player has had enough.
func (p *player) orLeave(d time.Duration, do func(*player)) {
	if p.annoyance > p.patience && p.w.chance(0.5) {
		p.then(d, (*player).leave)
		return
	}
	p.then(d, do)
}

// limits lets a player set or reach a limit, be flagged by staff, or exclude themselves.
func (p *player) limits() {
	switch x := p.w.rng.Float64(); {
	case x < 0.45:
		p.emit(event.TypeLimitSet, event.LimitSet{Limit: "deposit", Period: "month", Amount: 50000, Currency: p.home.currency})
	case x < 0.65:
		p.emit(event.TypeLimitReached, event.LimitReached{Limit: "deposit", Period: "month"})
	case x < 0.85:
		p.emit(event.TypeIndicatorRaised, event.IndicatorRaised{Group: "behaviour",
			Strength: []string{"low", "strong"}[p.w.rng.IntN(2)], Note: "pattern found by staff"})
	default:
		p.excluded = true
		p.emit(event.TypeExcluded, event.Excluded{Scheme: "operator", Until: p.now.AddDate(0, 6, 0)})
	}
}

// leave ends the session and schedules the next one.
func (p *player) leave() {
	p.emit(event.TypeSessionEnded, event.SessionEnded{})
	if p.balance > int64(60*p.stake) {
		p.emit(event.TypePaymentWithdrawn, event.Payment{Amount: p.balance / 2, Currency: p.home.currency, Method: "bank"})
		p.balance -= p.balance / 2
	}
	p.session++
	away := p.w.about(time.Duration(float64(90*time.Minute) / p.w.cfg.Pace))
	if p.annoyance > p.patience {
		away *= 4
	}
	p.w.later(p, away, (*player).arrive)
}

// Respond plays the player's response to a recommendation: it is delivered at once and then
// accepted, dismissed or ignored. Unknown players are ignored.
func (w *World) Respond(playerID, recommendation, kind, channel string, now time.Time) {
	p, ok := w.byID[playerID]
	if !ok {
		return
	}
	if now.After(p.now) {
		p.now = now
	}
	outcome := event.Outcome{Recommendation: recommendation, Channel: channel}
	p.emit(event.TypeDelivered, outcome)
	accept := map[string]float64{"service": 0.6, "protection": 0.35, "marketing": 0.25}[kind]
	w.later(p, w.about(6*time.Second), func(p *player) {
		switch {
		case w.chance(accept):
			p.emit(event.TypeAccepted, outcome)
			p.takeUp(kind)
		case w.chance(0.5):
			p.emit(event.TypeDismissed, outcome)
		}
	})
}

// takeUp changes the player's behaviour after an accepted recommendation.
func (p *player) takeUp(kind string) {
	if p.guest {
		return
	}
	switch kind {
	case "service":
		p.annoyance, p.broken = p.annoyance*0.3, ""
	case "protection":
		p.bet = p.stake
		if p.w.chance(0.5) {
			p.leave()
		}
	default:
		p.left += 20
	}
}
