package learn

import "math"

// measuredOver is how many of the latest outcomes errors are measured over.
const measuredOver = 5_000

// Errors are how far scores were from what came, over the last 5,000 outcomes or
// so: expected calibration errors over ten bins.
type Errors struct {
	N       int64   `json:"n"`
	Raw     float64 `json:"raw"`     // of what the model gave
	Decided float64 `json:"decided"` // of what was decided on
	// Chance is what the error of scores that are right would be, by chance alone.
	Chance float64 `json:"chance"`
	// AUC is how often a player who left, say, had the higher score than one who stayed.
	AUC float64 `json:"auc"`
}

// Errors measures what the model gave, and what was decided on.
func (c *Calibrator) Errors() (e Errors) {
	var bins [calibrationBins]Outcome
	for _, slot := range c.newest() {
		if e.N >= measuredOver {
			break
		}
		s := c.Slots[slot]
		e.N += s.N
		for i, b := range s.Bins {
			o := &bins[i]
			o.N, o.Came, o.Raw, o.Said = o.N+b.N, o.Came+b.Came, o.Raw+b.Raw, o.Said+b.Said
		}
	}
	if e.N == 0 {
		return e
	}
	e.AUC = auc(&bins)
	const together = calibrationBins / 10
	for i := 0; i < calibrationBins; i += together {
		var b Outcome
		for _, s := range bins[i : i+together] {
			b.N, b.Came, b.Raw, b.Said = b.N+s.N, b.Came+s.Came, b.Raw+s.Raw, b.Said+s.Said
		}
		if b.N == 0 {
			continue
		}
		p := min(float64(b.Said)/millionth/float64(b.N), 1)
		e.Raw += math.Abs(float64(b.Raw)/millionth - float64(b.Came))
		e.Decided += math.Abs(float64(b.Said)/millionth - float64(b.Came))
		e.Chance += math.Sqrt(2 / math.Pi * float64(b.N) * p * (1 - p)) // of a binomial's mean distance
	}
	n := float64(e.N)
	e.Raw, e.Decided, e.Chance = e.Raw/n, e.Decided/n, e.Chance/n
	return e
}

// auc is the area under the ROC curve by bins: within one, it is a half.
func auc(bins *[calibrationBins]Outcome) float64 {
	var below, area, came, not float64 // below: of those that did not come
	for _, b := range bins {
		yes, no := float64(b.Came), float64(b.N-b.Came)
		area += yes * (below + no/2)
		below, came, not = below+no, came+yes, not+no
	}
	if came == 0 || not == 0 {
		return 0.5
	}
	return area / came / not
}
