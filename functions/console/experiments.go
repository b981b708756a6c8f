package console

import (
	"math"
	"net/http"
	"sort"
	"sync"
	"time"

	"pitboss/internal/event"
)

// stayWithin defines the outcome that every arm has, the holdout included: whether
// the player placed another bet within ten minutes of the decision. The leave model
// predicts it.
const stayWithin = 10 * time.Minute

// maxWatched bounds how many decisions can wait for their outcome at once.
const maxWatched = 50_000

// experiments joins decisions with what players did next, by arm and by action, for
// the time since the console started. The record is the report made from the journal
// (report.go).
type experiments struct {
	mu      sync.Mutex
	watched map[string][]watch // by player
	open    int
	arms    map[string]*armCount
	actions map[string]*armCount // by action, of issued decisions
	byRec   map[string]string    // the action of each recommendation, for outcomes
	bins    [10]calibration      // by tenth of the leave score
}

// calibration compares, for a tenth of the score's range, what the model said with
// what happened.
type calibration struct {
	N        int64   `json:"n"`
	Said     float64 `json:"said"`     // mean score
	Happened float64 `json:"happened"` // share that placed no bet within ten minutes
	left     int64
	sum      float64
}

type watch struct {
	at   time.Time // event time of the decision
	arm  string
	what string // the action, if one was issued
	bet  bool
	risk float64 // the leave score; negative: there is none

	protection bool
}

type armCount struct {
	decisions, issued, settled, stayed    int64
	delivered, accepted, dismissed, ended int64
}

func newExperiments() *experiments {
	return &experiments{watched: map[string][]watch{}, arms: map[string]*armCount{}, actions: map[string]*armCount{}, byRec: map[string]string{}}
}

func count(m map[string]*armCount, name string) *armCount {
	c, ok := m[name]
	if !ok {
		if len(m) > 200 {
			return &armCount{}
		}
		c = &armCount{}
		m[name] = c
	}
	return c
}

// decided starts to watch what the player does after a decision.
func (x *experiments) decided(d *decision) {
	if d.Arm == "" || d.Verdict == "revoked" {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	c := count(x.arms, d.Arm)
	c.decisions++
	w := watch{at: d.Trigger.Time, arm: d.Arm, risk: -1}
	if p, ok := d.Scores["leave"]; ok {
		w.risk = p
	}
	if d.Verdict == "issued" {
		c.issued++
		w.what, w.protection = d.Action, d.Kind == "protection"
		count(x.actions, d.Action).issued++
		if len(x.byRec) > maxWatched {
			x.byRec = map[string]string{}
		}
		x.byRec[d.ID], x.byRec[d.Decision] = d.Action, d.Action
	}
	over := d.at.Sub(d.Trigger.Time) > stayWithin // of an old event the outcome came in before its decision
	if x.open < maxWatched && !over {
		x.watched[d.Player] = append(x.watched[d.Player], w)
		x.open++
	}
}

// bet notes that the player placed a bet, if a decision waits for it.
func (x *experiments) bet(s *seen, sound func() bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	checked := false
	for i := range x.watched[s.Player] {
		w := &x.watched[s.Player][i]
		if age := s.Time.Sub(w.at); w.bet || age <= 0 || age > stayWithin {
			continue
		}
		if !checked && !sound() { // checked only now, since most bets end no wait
			return
		}
		w.bet, checked = true, true
	}
}

func (x *experiments) settle(w watch) {
	x.open--
	if !w.protection { // protection does not aim at another bet
		for _, c := range []*armCount{count(x.arms, w.arm), actionCount(x, w)} {
			c.settled++
			if w.bet {
				c.stayed++
			}
		}
	}
	if w.risk < 0 {
		return
	}
	b := &x.bins[min(9, int(w.risk*10))]
	b.N++
	b.sum += w.risk
	if !w.bet {
		b.left++
	}
}

// calibrated says, for each tenth of the leave score, how often players left.
func (x *experiments) calibrated() []calibration {
	x.mu.Lock()
	defer x.mu.Unlock()
	out := make([]calibration, len(x.bins))
	for i, b := range x.bins {
		out[i] = calibration{N: b.N}
		if b.N > 0 {
			out[i].Said, out[i].Happened = b.sum/float64(b.N), float64(b.left)/float64(b.N)
		}
	}
	return out
}

func actionCount(x *experiments, w watch) *armCount {
	if w.what == "" {
		return &armCount{}
	}
	return count(x.actions, w.what)
}

func (x *experiments) outcome(typ, recommendation string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	action, ok := x.byRec[recommendation]
	if !ok {
		return
	}
	c := count(x.actions, action)
	switch typ {
	case event.TypeDelivered:
		c.delivered++
	case event.TypeAccepted:
		c.accepted++
	case event.TypeDismissed:
		c.dismissed++
	default:
		c.ended++
	}
}

// expire settles the decisions that stayWithin has passed for. None is settled
// earlier, even if the player has already bet: bets would be counted before leaves,
// and every rate would be too high.
func (x *experiments) expire(now time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for player, list := range x.watched {
		left := list[:0]
		for _, w := range list {
			if now.Sub(w.at) > stayWithin {
				x.settle(w)
			} else {
				left = append(left, w)
			}
		}
		if len(left) == 0 {
			delete(x.watched, player)
		} else {
			x.watched[player] = left
		}
	}
}

func (x *experiments) forget(player string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.open -= len(x.watched[player])
	delete(x.watched, player)
}

// armView is one arm, or one action, with its rate and interval.
type armView struct {
	Name      string  `json:"name"`
	Decisions int64   `json:"decisions"`
	Issued    int64   `json:"issued"`
	Settled   int64   `json:"settled"` // decisions whose outcome is known
	Stayed    int64   `json:"stayed"`
	Rate      float64 `json:"rate"`
	Low       float64 `json:"low"` // 95 % Wilson interval
	High      float64 `json:"high"`
	// Uplift against the holdout with its 95 % interval (Newcombe's).
	Uplift     *float64 `json:"uplift,omitempty"`
	UpliftLow  float64  `json:"uplift_low"`
	UpliftHigh float64  `json:"uplift_high"`
	Delivered  int64    `json:"delivered"`
	Accepted   int64    `json:"accepted"`
	Dismissed  int64    `json:"dismissed"`
	Expired    int64    `json:"expired"`
}

func viewOf(name string, c *armCount) armView {
	v := armView{Name: name, Decisions: c.decisions, Issued: c.issued, Settled: c.settled, Stayed: c.stayed,
		Delivered: c.delivered, Accepted: c.accepted, Dismissed: c.dismissed, Expired: c.ended}
	v.Low, v.High = wilson(c.stayed, c.settled)
	if c.settled > 0 {
		v.Rate = float64(c.stayed) / float64(c.settled)
	}
	return v
}

func (x *experiments) view() (arms, actions []armView) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for name, c := range x.arms {
		arms = append(arms, viewOf(name, c))
	}
	for name, c := range x.actions {
		actions = append(actions, viewOf(name, c))
	}
	for _, hold := range arms {
		if hold.Name != "holdout" || hold.Settled == 0 {
			continue
		}
		for i := range arms {
			if arms[i].Name != "holdout" && arms[i].Settled > 0 {
				arms[i].against(hold)
			}
		}
	}
	byName := func(list []armView) { sort.Slice(list, func(a, b int) bool { return list[a].Name < list[b].Name }) }
	byName(arms)
	byName(actions)
	return arms, actions
}

// against sets the uplift over h: the difference of two proportions with Newcombe's
// interval (Statistics in Medicine 17, 1998, method 10).
func (v *armView) against(h armView) {
	d := v.Rate - h.Rate
	v.Uplift = &d
	v.UpliftLow = d - math.Hypot(v.Rate-v.Low, h.High-h.Rate)
	v.UpliftHigh = d + math.Hypot(v.High-v.Rate, h.Rate-h.Low)
}

// wilson returns the 95 % score interval of k out of n (Wilson, JASA 22, 1927).
func wilson(k, n int64) (low, high float64) {
	if n == 0 {
		return 0, 1
	}
	const z = 1.959963984540054
	p, m := float64(k)/float64(n), float64(n)
	mid := (p + z*z/(2*m)) / (1 + z*z/m)
	half := z / (1 + z*z/m) * math.Sqrt(p*(1-p)/m+z*z/(4*m*m))
	return max(0, mid-half), min(1, mid+half)
}

func (f *Function) listExperiments(w http.ResponseWriter, _ *http.Request) (any, error) {
	f.experiments.expire(f.now())
	arms, actions := f.experiments.view()
	return map[string]any{"arms": arms, "actions": actions, "outcome": "placed another bet within 10 minutes of the decision"}, nil
}
