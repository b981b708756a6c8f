package console

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"pitboss/internal/event"
	"pitboss/internal/policy"
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

// armCount counts the decisions of one arm, or of one action.
type armCount struct {
	Decisions int64 `json:"decisions"`
	Issued    int64 `json:"issued"`
	Settled   int64 `json:"settled"` // decisions whose outcome is known
	Stayed    int64 `json:"stayed"`
	Delivered int64 `json:"delivered"`
	Accepted  int64 `json:"accepted"`
	Dismissed int64 `json:"dismissed"`
	Expired   int64 `json:"expired"`
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
	c.Decisions++
	w := watch{at: d.Trigger.Time, arm: d.Arm, risk: -1}
	if p, ok := d.Scores["leave"]; ok {
		w.risk = p
	}
	if d.Verdict == "issued" {
		c.Issued++
		w.what, w.protection = d.Action, d.Kind == "protection"
		count(x.actions, d.Action).Issued++
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
			c.Settled++
			if w.bet {
				c.Stayed++
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
		c.Delivered++
	case event.TypeAccepted:
		c.Accepted++
	case event.TypeDismissed:
		c.Dismissed++
	default:
		c.Expired++
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
	Name string `json:"name"`
	armCount
	Rate float64 `json:"rate"`
	Low  float64 `json:"low"` // 95 % Wilson interval
	High float64 `json:"high"`
	// Uplift against the holdout with its 95 % interval (Newcombe's).
	Uplift     *float64 `json:"uplift,omitempty"`
	UpliftLow  float64  `json:"uplift_low"`
	UpliftHigh float64  `json:"uplift_high"`
}

func viewOf(name string, c *armCount) armView {
	rate := c.rate()
	return armView{Name: name, armCount: *c, Rate: rate.Value, Low: rate.Low, High: rate.High}
}

// rate is the share of settled decisions whose player stayed.
func (c *armCount) rate() policy.Estimate { return policy.Proportion(int(c.Stayed), int(c.Settled)) }

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
	byName := func(a, b armView) int { return strings.Compare(a.Name, b.Name) }
	slices.SortFunc(arms, byName)
	slices.SortFunc(actions, byName)
	return arms, actions
}

// against sets the uplift over h.
func (v *armView) against(h armView) {
	d := policy.Difference(v.rate(), h.rate())
	v.Uplift, v.UpliftLow, v.UpliftHigh = &d.Value, d.Low, d.High
}

func (f *Function) listExperiments(w http.ResponseWriter, _ *http.Request) (any, error) {
	f.experiments.expire(f.now())
	arms, actions := f.experiments.view()
	return map[string]any{"arms": arms, "actions": actions, "outcome": "placed another bet within 10 minutes of the decision"}, nil
}
