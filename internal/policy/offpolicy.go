package policy

import "math"

// Logged is one randomised choice from a log, for off-policy evaluation: what
// another policy would have earned, judged by choices this one made.
type Logged struct {
	Reward     float64
	Propensity float64 // with which the logged action was chosen
	Target     float64 // with which the other policy would choose it
	Fitted     float64 // a reward model's guess for the logged action
	Direct     float64 // the model's expectation under the other policy
}

// Estimate is a value with its 95 % interval.
type Estimate struct {
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
}

// OffPolicy holds the usual estimators.
//
// IPS: Horvitz and Thompson 1952. SNIPS: Swaminathan and Joachims 2015. DR:
// Dudík, Langford and Li 2011. Intervals are normal ones; SNIPS' by the delta
// method. They are too narrow where few choices carry most of the weight:
// Effective says how many choices the weights are worth.
type OffPolicy struct {
	N              int
	Effective      float64 // (Σw)² / Σw²
	IPS, SNIPS, DR Estimate
}

// EvaluateOffPolicy estimates the target policy's mean reward.
func EvaluateOffPolicy(log []Logged) OffPolicy {
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
		dr[i] = l.Direct + w*(l.Reward-l.Fitted)
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

// Proportion is hits of n with Wilson's 95 % interval (Wilson 1927).
func Proportion(hits, n int) Estimate {
	if n == 0 {
		return Estimate{Low: 0, High: 1}
	}
	p, m := float64(hits)/float64(n), float64(n)
	centre := (p + z95*z95/(2*m)) / (1 + z95*z95/m)
	half := z95 / (1 + z95*z95/m) * math.Sqrt(p*(1-p)/m+z95*z95/(4*m*m))
	return Estimate{p, max(0, centre-half), min(1, centre+half)}
}

// Difference is a − b of two independent proportions with Newcombe's interval
// (Newcombe 1998, method 10).
func Difference(a, b Estimate) Estimate {
	d := a.Value - b.Value
	return Estimate{d, d - math.Hypot(a.Value-a.Low, b.High-b.Value), d + math.Hypot(a.High-a.Value, b.Value-b.Low)}
}

// Softmax is the propensity of each candidate under a temperature, among the
// unblocked ones of positive value; 0 takes the best.
func Softmax(cs []Candidate, temperature float64) []float64 {
	out := make([]float64, len(cs))
	top := -1
	for i := range cs {
		if cs[i].open() && (top < 0 || cs[i].Value > cs[top].Value) {
			top = i
		}
	}
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

// open reports whether a randomised choice could take the candidate.
func (c *Candidate) open() bool { return len(c.Blocked) == 0 && c.Value > 0 && c.Kind != Protection }

// OffPolicyOf evaluates the policy "softmax with this temperature" on the rows
// of arms that explore, with acceptance as reward. The reward model of DR is
// the mean per action in the other half of the players.
func OffPolicyOf(rows []Row, temperature float64) OffPolicy {
	var means [2]map[string]*[2]float64 // by half: action → rewards, count
	means[0], means[1] = map[string]*[2]float64{}, map[string]*[2]float64{}
	half := func(r *Row) int { return int(DecisionKey(r.Player) & 1) }
	reward := func(r *Row) float64 {
		for _, o := range r.Outcomes {
			if o == "accepted" {
				return 1
			}
		}
		return 0
	}
	var chosen []*Row
	for i := range rows {
		d := &rows[i].Choice
		if !d.randomised() {
			continue
		}
		r := &rows[i]
		chosen = append(chosen, r)
		m := means[half(r)]
		if m[d.Action] == nil {
			m[d.Action] = &[2]float64{}
		}
		m[d.Action][0] += reward(r)
		m[d.Action][1]++
	}
	log := make([]Logged, 0, len(chosen))
	for _, r := range chosen {
		other := means[1-half(r)]
		guess := func(action string) float64 {
			if m := other[action]; m != nil {
				return m[0] / m[1]
			}
			return 0
		}
		l := Logged{Reward: reward(r), Propensity: r.Choice.Propensity, Fitted: guess(r.Choice.Action)}
		candidates := make([]Candidate, len(r.Choice.open))
		for i, c := range r.Choice.open {
			candidates[i] = Candidate{Action: c.action, Value: c.value}
		}
		for i, p := range Softmax(candidates, temperature) {
			l.Direct += p * guess(candidates[i].Action)
			if candidates[i].Action == r.Choice.Action {
				l.Target = p
			}
		}
		log = append(log, l)
	}
	return EvaluateOffPolicy(log)
}
