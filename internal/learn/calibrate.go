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
// It keeps integer sums by the hour in which the scores were given. So the order
// in which outcomes become known does not matter.
type Calibrator struct {
	Hours map[int64]*Hour `json:"hours"` // by hours since 1970
}

// Hour is the outcomes of the scores that a model gave within an hour, by what it
// gave: the sums of bin i are of scores from i/40 on.
type Hour struct {
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
	// calibrationFade makes an hour count half when 3,000 outcomes of later hours are known.
	calibrationFade = 0.99977
	// calibrationPull draws a fit to slope 1 and offset 0, as 20 outcomes at even odds would.
	calibrationPull = 5.0
	// calibrationHours are kept; an hour that counts less than calibrationLeast is not.
	calibrationHours = 48
	calibrationLeast = 1e-4
	// CalibrationFrom is how many outcomes must be known before scores are calibrated.
	CalibrationFrom = 300
	// measuredOver is how many of the latest outcomes errors are measured over.
	measuredOver = 5_000
	millionth    = 1e6
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
func NewCalibrator() *Calibrator { return &Calibrator{Hours: map[int64]*Hour{}} }

// Observe takes what came of a score: when it was given, what the model gave, what
// was decided on.
func (c *Calibrator) Observe(at time.Time, raw, said float64, came bool) {
	hour := at.Unix() / 3600
	h := c.Hours[hour]
	if h == nil {
		h = &Hour{}
		c.Hours[hour] = h
	}
	h.N++
	b := &h.Bins[min(int(max(0, raw)*calibrationBins), calibrationBins-1)]
	b.N++
	b.Raw += int64(math.Round(raw * millionth))
	b.Logit += int64(math.Round(logit(raw) * millionth))
	b.Said += int64(math.Round(said * millionth))
	if came {
		b.Came++
	}
}

// newest lists the hours, the newest first.
func (c *Calibrator) newest() []int64 {
	return slices.SortedFunc(maps.Keys(c.Hours), func(a, b int64) int { return cmp.Compare(b, a) })
}

// Forget drops the hours that hardly count any more.
func (c *Calibrator) Forget() {
	later := int64(0)
	for i, hour := range c.newest() {
		n := c.Hours[hour].N
		if i >= calibrationHours || math.Pow(calibrationFade, float64(later)) < calibrationLeast {
			delete(c.Hours, hour)
		}
		later += n
	}
}

// weighed is the outcomes of a bin, the older ones counting less.
type weighed struct{ n, came, logit float64 }

func (c *Calibrator) weighed() (bins [calibrationBins]weighed) {
	later := int64(0)
	for _, hour := range c.newest() {
		h := c.Hours[hour]
		w := math.Pow(calibrationFade, float64(later))
		for i, b := range h.Bins {
			bins[i].n += w * float64(b.N)
			bins[i].came += w * float64(b.Came)
			bins[i].logit += w * float64(b.Logit) / millionth
		}
		later += h.N
	}
	return bins
}

// Fit is the calibration within the bounds that suits the outcomes best, drawn a
// little towards none; none where few outcomes are known.
func (c *Calibrator) Fit() Calibration {
	if c.Seen() < CalibrationFrom {
		return Calibration{}
	}
	bins := c.weighed()
	fit := minimise(&bins, Calibration{Slope: 1}, true)
	if slope := min(max(fit.Slope, leastSlope), mostSlope); slope != fit.Slope {
		fit = minimise(&bins, Calibration{Slope: slope}, false) // the offset that suits this slope
	}
	fit.Offset = min(max(fit.Offset, -mostOffset), mostOffset)
	return fit
}

// minimise goes from a calibration to that of the least loss by Newton's method, or to
// that of the same slope. A step that goes too far, as it does where scores are near 0
// or 1 and wrong, is halved until the loss falls: the loss is convex, so that ends.
func minimise(bins *[calibrationBins]weighed, fit Calibration, slopes bool) Calibration {
	least := loss(bins, fit)
	for range 50 {
		d0, d1 := newton(bins, fit, slopes)
		next, lower := fit, false
		for range 60 {
			next = Calibration{Offset: fit.Offset + d0, Slope: fit.Slope + d1}
			if now := loss(bins, next); now < least {
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
func loss(bins *[calibrationBins]weighed, c Calibration) float64 {
	sum := calibrationPull / 2 * (c.Offset*c.Offset + (c.Slope-1)*(c.Slope-1))
	for _, b := range bins {
		if b.n < 1e-9 {
			continue
		}
		z := c.Offset + c.Slope*b.logit/b.n
		sum += b.n*softplus(z) - b.came*z
	}
	return sum
}

// softplus is log(1 + eᶻ).
func softplus(z float64) float64 { return max(z, 0) + math.Log1p(math.Exp(-math.Abs(z))) }

// newton is the step to the minimum of the parabola that the loss looks like here.
// Without slopes it keeps the slope.
func newton(bins *[calibrationBins]weighed, c Calibration, slopes bool) (offset, slope float64) {
	g0, g1 := -calibrationPull*c.Offset, -calibrationPull*(c.Slope-1)
	h00, h01, h11 := calibrationPull, 0.0, calibrationPull
	for _, b := range bins {
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

// Latest is the hour of the latest score whose outcome is known; zero: none is.
func (c *Calibrator) Latest() time.Time {
	hours := c.newest()
	if len(hours) == 0 {
		return time.Time{}
	}
	return time.Unix(hours[0]*3600, 0).UTC()
}

// Seen is how many outcomes are known.
func (c *Calibrator) Seen() (n int64) {
	for _, h := range c.Hours {
		n += h.N
	}
	return n
}

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
	for _, hour := range c.newest() {
		if e.N >= measuredOver {
			break
		}
		h := c.Hours[hour]
		e.N += h.N
		for i, b := range h.Bins {
			s := &bins[i]
			s.N, s.Came, s.Raw, s.Said = s.N+b.N, s.Came+b.Came, s.Raw+b.Raw, s.Said+b.Said
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
