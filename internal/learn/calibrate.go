package learn

import (
	"math"
)

// Calibrator learns how often what a model rates happens of late: it fits
// logit(p) = b + a·logit(score) (Platt 1999) to the outcomes, the older ones
// counting less, so that it follows what changes after training.
type Calibrator struct {
	Bins [calibrationBins]Bin `json:"bins"` // by score
}

// Bin is the outcomes of scores in a part of 0 to 1.
type Bin struct {
	N    float64 `json:"n"`
	Said float64 `json:"said"` // Σ logit(score)
	Came float64 `json:"came"`
}

// calibrationBins parts the scores; calibrationFade makes an outcome count half
// after 3,000 others; calibrationPrior is how many outcomes "the model is right"
// counts as.
const (
	calibrationBins  = 40
	calibrationFade  = 0.99977
	calibrationPrior = 50.0
)

// Calibration maps scores to probabilities. The zero value changes nothing.
type Calibration struct {
	Slope  float64 `json:"slope"`
	Offset float64 `json:"offset"`
}

// Apply is the probability of a score.
func (c Calibration) Apply(score float64) float64 {
	if c == (Calibration{}) {
		return score
	}
	return sigmoid(c.Offset + c.Slope*logit(score))
}

func sigmoid(z float64) float64 { return 1 / (1 + math.Exp(-z)) }

func logit(p float64) float64 {
	p = min(max(p, 1e-6), 1-1e-6)
	return math.Log(p / (1 - p))
}

// Observe takes what came of a score.
func (c *Calibrator) Observe(score float64, came bool) {
	for i := range c.Bins {
		b := &c.Bins[i]
		b.N, b.Said, b.Came = b.N*calibrationFade, b.Said*calibrationFade, b.Came*calibrationFade
	}
	b := &c.Bins[min(int(max(0, score)*calibrationBins), calibrationBins-1)]
	b.N, b.Said = b.N+1, b.Said+logit(score)
	if came {
		b.Came++
	}
}

// Fit is the calibration that suits the outcomes best, drawn a little towards
// none. It takes a few steps of Newton's method on the bins.
func (c *Calibrator) Fit() Calibration {
	slope, offset := 1.0, 0.0
	for range 25 {
		// Gradient and Hessian of the log-likelihood less the pull to slope 1, offset 0.
		g0, g1 := -calibrationPrior/10*offset, -calibrationPrior/10*(slope-1)
		h00, h01, h11 := calibrationPrior/10, 0.0, calibrationPrior/10
		for i := range c.Bins {
			b := &c.Bins[i]
			if b.N < 1e-9 {
				continue
			}
			x := b.Said / b.N
			p := sigmoid(offset + slope*x)
			d, w := b.Came-b.N*p, b.N*p*(1-p)
			g0, g1 = g0+d, g1+d*x
			h00, h01, h11 = h00+w, h01+w*x, h11+w*x*x
		}
		det := h00*h11 - h01*h01
		if !(det > 0) {
			break
		}
		d0, d1 := (h11*g0-h01*g1)/det, (h00*g1-h01*g0)/det
		offset, slope = offset+d0, slope+d1
		if math.Abs(d0)+math.Abs(d1) < 1e-9 {
			break
		}
	}
	return Calibration{Slope: max(0.05, slope), Offset: offset}
}

// Seen is how much the outcomes weigh together.
func (c *Calibrator) Seen() (n float64) {
	for i := range c.Bins {
		n += c.Bins[i].N
	}
	return n
}
