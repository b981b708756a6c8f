package learn

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"time"
)

// Calibrator learns how often the event that a model predicts has happened recently. It
// fits logit(p) = offset + slope·logit(score) (Platt 1999) to outcomes. Older outcomes
// count less, so that it follows changes after training.
//
// The rate at which players leave, for example, changes within hours, but how well a score
// separates them hardly does. So the offset follows the latest few hundred outcomes, and
// the slope, which needs more of them, the latest thousands.
//
// It keeps integer sums for each ten minutes in which scores were given, so that the order
// in which outcomes become known does not matter.
type Calibrator struct {
	Slots map[int64]*Slot `json:"slots"` // by ten minutes since 1970
}

// Slot holds the outcomes of the scores that a model gave within ten minutes. Bin i has the
// scores from i/40 to (i+1)/40.
type Slot struct {
	N    int64                    `json:"n"`
	Bins [calibrationBins]Outcome `json:"bins"`
}

// Outcome holds the sums of a bin. Sums of scores are in millionths.
type Outcome struct {
	N     int64 `json:"n,omitzero"`
	Came  int64 `json:"came,omitzero"`  // how many of N happened
	Raw   int64 `json:"raw,omitzero"`   // Σ of the model's scores
	Logit int64 `json:"logit,omitzero"` // Σ of their log-odds
	Said  int64 `json:"said,omitzero"`  // Σ of the scores that were decided on
}

func (o *Outcome) add(b Outcome) {
	o.N, o.Came, o.Raw, o.Logit, o.Said = o.N+b.N, o.Came+b.Came, o.Raw+b.Raw, o.Logit+b.Logit, o.Said+b.Said
}

const (
	calibrationBins = 40
	slotSeconds     = 600
	// A slot counts half once this many outcomes of later slots are known.
	slopeHalf, offsetHalf = 1000.0, 200.0
	// calibrationPull pulls the slope towards 1 and the offset towards the slow fit's, as
	// strongly as 20 outcomes at even odds.
	calibrationPull = 5.0
	// At most calibrationSlots slots are kept, and none that counts less than
	// calibrationLeast.
	calibrationSlots = 288
	calibrationLeast = 1e-3
	// calibrationFrom is how many outcomes must be known before scores are calibrated.
	calibrationFrom = 300
	millionth       = 1e6
)

// The bounds of a calibration. A value beyond them would be a fault, not drift.
const (
	leastSlope, mostSlope = 0.05, 4.0
	mostOffset            = 4.0
)

// Calibration maps scores to probabilities. The zero value changes nothing.
type Calibration struct {
	Slope  float64 `json:"slope"`
	Offset float64 `json:"offset"`
}

// Apply returns the calibrated probability of a score.
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

// NewCalibrator returns a Calibrator without outcomes.
func NewCalibrator() *Calibrator { return &Calibrator{} }

// Observe adds the outcome of a score: at is when the score was given, raw is the model's
// score, said is the score that was decided on.
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

// Forget drops the slots whose weight has become negligible.
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

// fade returns the weight of a slot after that many later outcomes.
func fade(later int64, half float64) float64 { return math.Exp2(-float64(later) / half) }

// weighed holds the weighted sums of a bin.
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

// Fit returns the best calibration within the bounds, or none if fewer than
// calibrationFrom outcomes are known.
func (c *Calibrator) Fit() Calibration {
	if c.Seen() < calibrationFrom {
		return Calibration{}
	}
	slow := objective{c.weighed(slopeHalf), Calibration{Slope: 1}}
	fit := slow.minimum(slow.centre, true)
	if slope := min(max(fit.Slope, leastSlope), mostSlope); slope != fit.Slope {
		fit = slow.minimum(Calibration{Slope: slope}, false) // refit the offset for the bounded slope
	}
	fast := objective{c.weighed(offsetHalf), fit}
	fit = fast.minimum(fit, false)
	fit.Offset = min(max(fit.Offset, -mostOffset), mostOffset)
	return fit
}

// objective is the penalized loss of a calibration: its misfit to outcomes and its distance
// from a centre.
type objective struct {
	bins   *[calibrationBins]weighed
	centre Calibration
}

// minimum finds the calibration of least loss by Newton's method, starting at fit. Without
// slopes it keeps fit's slope. A step that is too long, as for wrong scores near 0 or 1, is
// halved until the loss falls. The loss is convex, so this ends.
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

// newton returns Newton's step at c. Without slopes the slope stays.
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

// softplus returns log(1 + eᶻ).
func softplus(z float64) float64 { return max(z, 0) + math.Log1p(math.Exp(-math.Abs(z))) }

// Latest returns when the newest slot began, or zero if no outcome is known.
func (c *Calibrator) Latest() time.Time {
	slots := c.newest()
	if len(slots) == 0 {
		return time.Time{}
	}
	return time.Unix(slots[0]*slotSeconds, 0).UTC()
}

// Seen returns how many outcomes are known.
func (c *Calibrator) Seen() (n int64) {
	for _, s := range c.Slots {
		n += s.N
	}
	return n
}
