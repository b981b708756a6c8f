package policy

import (
	"math"
	"slices"
)

// The difference that the data should be able to show, and the sum of the normal
// quantiles of a two-sided test at 5 % with a power of 80 %.
const (
	wanted  = 0.05
	quantum = z95 + 0.8416212335729143
)

// power returns the difference that two groups of a and b players can show if hits of
// them reached the goal, and how many more players each needs to show the wanted one.
func power(hits, a, b int) (detectable float64, needed int) {
	p := 0.5 // the worst case, if nothing is known
	if a+b > 0 && hits > 0 && hits < a+b {
		p = float64(hits) / float64(a+b)
	}
	spread := p * (1 - p)
	needed = max(0, int(math.Ceil(2*quantum*quantum*spread/(wanted*wanted)))-min(a, b))
	if a == 0 || b == 0 {
		return 1, needed
	}
	return math.Min(1, quantum*math.Sqrt(spread*(1/float64(a)+1/float64(b)))), needed
}

// powerOfOne is power for one group of n players that is compared with a share of one half.
func powerOfOne(n int) (detectable float64, needed int) {
	needed = max(0, int(math.Ceil(quantum*quantum/4/(wanted*wanted)))-n)
	if n == 0 {
		return 0.5, needed
	}
	return math.Min(0.5, quantum/2/math.Sqrt(float64(n))), needed
}

// median returns the median of xs with its distribution-free 95 % interval (Conover
// 1999, 3.2). It sorts xs.
func median(xs []float64) Estimate {
	n := len(xs)
	if n == 0 {
		return Estimate{}
	}
	slices.Sort(xs)
	half := z95 * math.Sqrt(float64(n)) / 2
	low := max(0, int(math.Floor(float64(n)/2-half))-1)
	high := min(n-1, int(math.Ceil(float64(n)/2+half)))
	return Estimate{(xs[(n-1)/2] + xs[n/2]) / 2, xs[low], xs[high]}
}
