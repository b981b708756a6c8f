package learn

import "math"

// Interval is a mean with a confidence interval.
type Interval struct{ Value, Low, High float64 }

// Moments are a running mean and variance (Welford 1962).
type Moments struct {
	N    int     `json:"n"`
	Mean float64 `json:"mean"`
	SS   float64 `json:"ss"` // Σ (value − mean)²
}

// Add adds a value.
func (m *Moments) Add(v float64) {
	m.N++
	d := v - m.Mean
	m.Mean += d / float64(m.N)
	m.SS += d * (v - m.Mean)
}

// Variance returns the sample variance.
func (m *Moments) Variance() float64 {
	if m.N < 2 {
		return 0
	}
	return m.SS / float64(m.N-1)
}

// sequenceFrom is the number of values from which on there is a confidence sequence: it
// holds asymptotically.
const sequenceFrom = 300

// Always returns a 1 − alpha confidence sequence for the mean. It may be looked at after
// every value: the probability that it is ever wrong is alpha. It is asymptotic, with the
// normal mixture (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2021, equation 9), and
// narrowest at about tight values.
func (m *Moments) Always(alpha float64, tight int) Interval {
	if m.N < sequenceFrom {
		return Interval{m.Mean, math.Inf(-1), math.Inf(1)}
	}
	n := float64(m.N)
	l := -2 * math.Log(alpha)
	rho := (l + math.Log(l) + 1) / float64(tight) // ρ² (their appendix B.2)
	half := math.Sqrt(m.Variance() * 2 * (n*rho + 1) / (n * n * rho) * math.Log(math.Sqrt(n*rho+1)/alpha))
	return Interval{m.Mean, m.Mean - half, m.Mean + half}
}
