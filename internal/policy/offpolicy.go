package policy

import (
	"math"
	"slices"
)

// loggedChoice is one randomised choice of a logged policy, to estimate what another
// policy, the target, would have earned.
type loggedChoice struct {
	Reward     float64
	Propensity float64 // the chance with which the logged action was chosen
	Target     float64 // the chance with which the target would choose it
	Fitted     float64 // a reward model's guess for the logged action
	Direct     float64 // the model's expected reward under the target
}

// robust is the doubly robust score of the choice.
func (l *loggedChoice) robust() float64 { return l.Direct + l.Target/l.Propensity*(l.Reward-l.Fitted) }

// actionMeans is the reward model of the doubly robust estimators: the mean reward
// of each action, kept apart for two halves of the players. A player's choice is
// judged by the half that the player is not in, so that no choice is part of its
// own prediction.
type actionMeans [2]map[string]*actionMean

type actionMean struct{ sum, n float64 }

func newActionMeans() actionMeans {
	return actionMeans{{}, {}}
}

func (m actionMeans) add(player uint64, action string, reward float64) {
	half := m[player&1]
	if half[action] == nil {
		half[action] = &actionMean{}
	}
	half[action].sum += reward
	half[action].n++
}

// guess returns the mean reward of an action in the other half of the players, or
// 0 if that half never had it.
func (m actionMeans) guess(player uint64, action string) float64 {
	if mean := m[1-player&1][action]; mean != nil {
		return mean.sum / mean.n
	}
	return 0
}

// Estimate is a value with its 95 % interval.
type Estimate struct {
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
}

// OffPolicy holds the usual off-policy estimates of a policy's mean reward.
//
// IPS: Horvitz and Thompson 1952. SNIPS: Swaminathan and Joachims 2015. DR:
// Dudík, Langford and Li 2011. Intervals are normal, that of SNIPS by the delta
// method. They are too narrow if few choices carry most of the weight: Effective
// is the effective sample size.
type OffPolicy struct {
	N              int
	Effective      float64 // (Σw)² / Σw²
	IPS, SNIPS, DR Estimate
}

// evaluateOffPolicy estimates the target policy's mean reward.
func evaluateOffPolicy(log []loggedChoice) OffPolicy {
	out := OffPolicy{N: len(log)}
	if len(log) == 0 {
		return out
	}
	ips, dr := make([]float64, len(log)), make([]float64, len(log))
	var sw, sw2, swr float64
	for i, l := range log {
		w := l.Target / l.Propensity
		sw, sw2, swr = sw+w, sw2+w*w, swr+w*l.Reward
		ips[i] = w * l.Reward
		dr[i] = l.robust()
	}
	out.IPS, out.DR = meanInterval(ips), meanInterval(dr)
	if sw > 0 {
		out.Effective = sw * sw / sw2
		v := swr / sw
		var s float64
		for _, l := range log {
			r := l.Target / l.Propensity * (l.Reward - v)
			s += r * r
		}
		half := z95 * math.Sqrt(s) / sw
		out.SNIPS = Estimate{v, v - half, v + half}
	}
	return out
}

const z95 = 1.959963984540054

func meanInterval(xs []float64) Estimate {
	n := float64(len(xs))
	var sum, ss float64
	for _, x := range xs {
		sum += x
	}
	mean := sum / n
	for _, x := range xs {
		ss += (x - mean) * (x - mean)
	}
	half := 0.0
	if n > 1 {
		half = z95 * math.Sqrt(ss/(n-1)/n)
	}
	return Estimate{mean, mean - half, mean + half}
}

// Proportion returns hits/n with Wilson's 95 % interval (Wilson 1927). Without any
// n the interval is 0 to 1.
func Proportion(hits, n int) Estimate {
	if n == 0 {
		return Estimate{Low: 0, High: 1}
	}
	p, m := float64(hits)/float64(n), float64(n)
	centre := (p + z95*z95/(2*m)) / (1 + z95*z95/m)
	half := z95 / (1 + z95*z95/m) * math.Sqrt(p*(1-p)/m+z95*z95/(4*m*m))
	return Estimate{p, max(0, centre-half), min(1, centre+half)}
}

// Difference returns a − b of two independent proportions with Newcombe's interval
// (Newcombe 1998, method 10).
func Difference(a, b Estimate) Estimate {
	d := a.Value - b.Value
	return Estimate{d, d - math.Hypot(a.Value-a.Low, b.High-b.Value), d + math.Hypot(a.High-a.Value, b.Value-b.Low)}
}

// softmax returns the propensity of each candidate at a temperature. Candidates
// that are not open have none. At temperature 0 the best one has propensity 1.
func softmax(cs []Candidate, temperature float64) []float64 {
	out := make([]float64, len(cs))
	top := best(cs, (*Candidate).open)
	if top < 0 {
		return out
	}
	if temperature == 0 {
		out[top] = 1
		return out
	}
	var sum float64
	for i := range cs {
		if cs[i].open() {
			out[i] = math.Exp((cs[i].Value - cs[top].Value) / temperature)
			sum += out[i]
		}
	}
	for i := range out {
		out[i] /= sum
	}
	return out
}

// open reports whether a randomised choice may take the candidate: it is unblocked,
// has a positive value and is not protection.
func (c *Candidate) open() bool { return len(c.Blocked) == 0 && c.Value > 0 && c.Kind != Protection }

// OffPolicyOf evaluates the policy "softmax with this temperature" on the rows
// of arms that explore. The reward is 1 if the player accepted.
func OffPolicyOf(rows []Row, temperature float64) OffPolicy {
	reward := func(r *Row) float64 { return is(slices.Contains(r.Outcomes, "accepted")) }
	means := newActionMeans()
	var chosen []*Row
	for i := range rows {
		if r := &rows[i]; r.Choice.randomised() {
			chosen = append(chosen, r)
			means.add(DecisionKey(r.Player), r.Choice.Action, reward(r))
		}
	}
	log := make([]loggedChoice, 0, len(chosen))
	for _, r := range chosen {
		player := DecisionKey(r.Player)
		l := loggedChoice{Reward: reward(r), Propensity: r.Choice.Propensity, Fitted: means.guess(player, r.Choice.Action)}
		candidates := make([]Candidate, len(r.Choice.open))
		for i, c := range r.Choice.open {
			candidates[i] = Candidate{Action: c.action, Value: c.value}
		}
		for i, p := range softmax(candidates, temperature) {
			l.Direct += p * means.guess(player, candidates[i].Action)
			if candidates[i].Action == r.Choice.Action {
				l.Target = p
			}
		}
		log = append(log, l)
	}
	return evaluateOffPolicy(log)
}
