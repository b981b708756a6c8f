package learn

import "math"

// measuredOver is the number of latest outcomes over which errors are measured.
const measuredOver = 5_000

// Errors holds the expected calibration errors, over ten bins, of about the last 5,000
// outcomes.
type Errors struct {
	N       int64   `json:"n"`
	Raw     float64 `json:"raw"`     // of the model's scores
	Decided float64 `json:"decided"` // of the scores that were decided on
	// Chance is the error that perfectly calibrated scores would have by chance alone.
	Chance float64 `json:"chance"`
	// AUC is the probability that a player for whom the predicted event happened had a
	// higher score than one for whom it did not.
	AUC float64 `json:"auc"`
}

// Errors measures the model's scores and those that were decided on.
func (c *Calibrator) Errors() (e Errors) {
	var bins [calibrationBins]Outcome
	for _, slot := range c.newest() {
		if e.N >= measuredOver {
			break
		}
		s := c.Slots[slot]
		e.N += s.N
		for i, b := range s.Bins {
			bins[i].add(b)
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
			b.add(s)
		}
		if b.N == 0 {
			continue
		}
		p := min(float64(b.Said)/millionth/float64(b.N), 1)
		e.Raw += math.Abs(float64(b.Raw)/millionth - float64(b.Came))
		e.Decided += math.Abs(float64(b.Said)/millionth - float64(b.Came))
		e.Chance += math.Sqrt(2 / math.Pi * float64(b.N) * p * (1 - p)) // the mean absolute deviation of a binomial
	}
	n := float64(e.N)
	e.Raw, e.Decided, e.Chance = e.Raw/n, e.Decided/n, e.Chance/n
	return e
}

// auc returns the area under the ROC curve by bins. Within a bin it counts as one half.
func auc(bins *[calibrationBins]Outcome) float64 {
	var below, area, came, not float64 // below: the negatives in lower bins
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
