package learn

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"time"
)

// Calibrator learns how often what a model foretells happens of late: it fits
// logit(p) = offset + slope·logit(score) (Platt 1999) to outcomes, the older ones
// counting less, so that it follows what changes after training.
//
// How often players leave, say, changes within hours, and how well a score tells them
// apart hardly does. So the offset follows the latest few hundred outcomes, and the
// slope, which takes more of them to know, the latest thousands.
//
// It keeps integer sums by the ten minutes in which the scores were given. So the order
// in which outcomes become known does not matter.
type Calibrator struct {
	Slots map[int64]*Slot `json:"slots"` // by ten minutes since 1970
}

// Slot is the outcomes of the scores that a model gave within ten minutes, by what it
// gave: the sums of bin i are of scores from i/40 on.
type Slot struct {
	N    int64                    `json:"n"`
	Bins [calibrationBins]Outcome `json:"bins"`
}

// Outcome is the sums of a bin. Those of scores are in millionths.
type Outcome struct {
	N     int64 `json:"n,omitzero"`
	Came  int64 `json:"came,omitzero"`  // of N
	Raw   int64 `json:"raw,omitzero"`   // Σ of what the model gave
	Logit int64 `json:"logit,omitzero"` // Σ of its log-odds
	Said  int64 `json:"said,omitzero"`  // Σ of what was decided on
}

const (
	calibrationBins = 40
	slotSeconds     = 600
	// A slot counts half when so many outcomes of later slots are known.
	slopeHalf, offsetHalf = 1000.0, 200.0
	// calibrationPull draws the slope to 1 and the offset to what it was before, as 20
	// outcomes at even odds would.
	calibrationPull = 5.0
	// calibrationSlots are kept; one that counts less than calibrationLeast is not.
	calibrationSlots = 288
	calibrationLeast = 1e-3
	// CalibrationFrom is how many outcomes must be known before scores are calibrated.
	CalibrationFrom = 300
	millionth       = 1e6
)

// The bounds of a calibration: what is beyond them is no drift, but a fault.
const (
	leastSlope, mostSlope = 0.05, 4.0
	mostOffset            = 4.0
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

// NewCalibrator returns one that knows no outcomes.
func NewCalibrator() *Calibrator { return &Calibrator{} }

// Observe takes what came of a score: when it was given, what the model gave, what
// was decided on.
func (c *Calibrator) Observe(at time.Time, raw, said float64, came bool) {
	if c.Slots == nil {
		c.Slots = map[int64]*Slot{}
	}
	slot := at.Unix() / slotSeconds
	s := c.Slots[slot]
	if s == nil {
		s = &Slot{}
		c.Slots[slot] = s
	}
	s.N++
	b := &s.Bins[min(int(max(0, raw)*calibrationBins), calibrationBins-1)]
	b.N++
	b.Raw += int64(math.Round(raw * millionth))
	b.Logit += int64(math.Round(logit(raw) * millionth))
	b.Said += int64(math.Round(said * millionth))
	if came {
		b.Came++
	}
}

// newest lists the slots, the newest first.
func (c *Calibrator) newest() []int64 {
	return slices.SortedFunc(maps.Keys(c.Slots), func(a, b int64) int { return cmp.Compare(b, a) })
}

// Forget drops the slots that hardly count any more.
func (c *Calibrator) Forget() {
	later := int64(0)
	for i, slot := range c.newest() {
		n := c.Slots[slot].N
		if i >= calibrationSlots || fade(later, slopeHalf) < calibrationLeast {
			delete(c.Slots, slot)
		}
		later += n
	}
}

// fade is how much a slot counts after so many later outcomes.
func fade(later int64, half float64) float64 { return math.Exp2(-float64(later) / half) }

// weighed is the outcomes of a bin, the older ones counting less.
type weighed struct{ n, came, logit float64 }

func (c *Calibrator) weighed(half float64) *[calibrationBins]weighed {
	var bins [calibrationBins]weighed
	later := int64(0)
	for _, slot := range c.newest() {
		s := c.Slots[slot]
		w := fade(later, half)
		for i, b := range s.Bins {
			bins[i].n += w * float64(b.N)
			bins[i].came += w * float64(b.Came)
			bins[i].logit += w * float64(b.Logit) / millionth
		}
		later += s.N
	}
	return &bins
}

// Fit is the calibration within the bounds that suits the outcomes best; none where
// few are known.
func (c *Calibrator) Fit() Calibration {
	if c.Seen() < CalibrationFrom {
		return Calibration{}
	}
	slow := objective{c.weighed(slopeHalf), Calibration{Slope: 1}}
	fit := slow.minimum(slow.centre, true)
	if slope := min(max(fit.Slope, leastSlope), mostSlope); slope != fit.Slope {
		fit = slow.minimum(Calibration{Slope: slope}, false) // the offset that suits this slope
	}
	fast := objective{c.weighed(offsetHalf), fit}
	fit = fast.minimum(fit, false)
	fit.Offset = min(max(fit.Offset, -mostOffset), mostOffset)
	return fit
}

// objective is how badly a calibration suits outcomes and how far it is from a centre.
type objective struct {
	bins   *[calibrationBins]weighed
	centre Calibration
}

// minimum goes from a calibration to that of the least loss by Newton's method, or to
// that of the same slope. A step that goes too far, as it does where scores are near 0
// or 1 and wrong, is halved until the loss falls: the loss is convex, so that ends.
func (o *objective) minimum(fit Calibration, slopes bool) Calibration {
	least := o.loss(fit)
	for range 50 {
		d0, d1 := o.newton(fit, slopes)
		next, lower := fit, false
		for range 60 {
			next = Calibration{Offset: fit.Offset + d0, Slope: fit.Slope + d1}
			if now := o.loss(next); now < least {
				least, lower = now, true
				break
			}
			d0, d1 = d0/2, d1/2
		}
		if !lower {
			return fit
		}
		fit = next
		if math.Abs(d0)+math.Abs(d1) < 1e-9 {
			return fit
		}
	}
	return fit
}

// loss is the negative log-likelihood of the outcomes and the pull.
func (o *objective) loss(c Calibration) float64 {
	u, v := c.Offset-o.centre.Offset, c.Slope-o.centre.Slope
	sum := calibrationPull / 2 * (u*u + v*v)
	for _, b := range o.bins {
		if b.n < 1e-9 {
			continue
		}
		z := c.Offset + c.Slope*b.logit/b.n
		sum += b.n*softplus(z) - b.came*z
	}
	return sum
}

// newton is the step to the minimum of the parabola that the loss looks like here.
// Without slopes it keeps the slope.
func (o *objective) newton(c Calibration, slopes bool) (offset, slope float64) {
	g0, g1 := calibrationPull*(o.centre.Offset-c.Offset), calibrationPull*(o.centre.Slope-c.Slope)
	h00, h01, h11 := calibrationPull, 0.0, calibrationPull
	for _, b := range o.bins {
		if b.n < 1e-9 {
			continue
		}
		x := b.logit / b.n
		p := sigmoid(c.Offset + c.Slope*x)
		d, w := b.came-b.n*p, b.n*p*(1-p)
		g0, g1 = g0+d, g1+d*x
		h00, h01, h11 = h00+w, h01+w*x, h11+w*x*x
	}
	if !slopes {
		return g0 / h00, 0
	}
	det := h00*h11 - h01*h01 // at least calibrationPull²
	return (h11*g0 - h01*g1) / det, (h00*g1 - h01*g0) / det
}

// softplus is log(1 + eᶻ).
func softplus(z float64) float64 { return max(z, 0) + math.Log1p(math.Exp(-math.Abs(z))) }

// Latest is when the slot of the latest score began whose outcome is known; zero: none is.
func (c *Calibrator) Latest() time.Time {
	slots := c.newest()
	if len(slots) == 0 {
		return time.Time{}
	}
	return time.Unix(slots[0]*slotSeconds, 0).UTC()
}

// Seen is how many outcomes are known.
func (c *Calibrator) Seen() (n int64) {
	for _, s := range c.Slots {
		n += s.N
	}
	return n
}
