package learn

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/go-json-experiment/json"
)

// Snapshot is a learned policy: everything that its choices depend on. It is kept under its
// hash, and each decision that it made refers to that hash.
type Snapshot struct {
	Spec    Spec             `json:"spec"`
	Actions map[string]*Sums `json:"actions"`
	// Made is when a candidate was written to a file: it has learned from everything
	// before. It is zero in a snapshot that decide takes by itself.
	Made time.Time `json:"made,omitzero"`
}

// Text returns the snapshot as JSON, and its hash.
func (s *Snapshot) Text() (text []byte, hash string, err error) {
	text, err = json.Marshal(s, json.Deterministic(true))
	if err != nil {
		return nil, "", fmt.Errorf("learn: snapshot: %w", err)
	}
	sum := sha256.Sum256(text)
	return text, hex.EncodeToString(sum[:16]), nil
}

// Parse reads a snapshot that Text wrote and compiles it.
func Parse(text []byte) (*Model, error) {
	var s Snapshot
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, fmt.Errorf("learn: snapshot: %w", err)
	}
	if err := s.Spec.check(); err != nil {
		return nil, fmt.Errorf("learn: snapshot: %w", err)
	}
	return s.Model()
}

// Model is a compiled snapshot. It is immutable.
type Model struct {
	Spec *Spec
	Hash string

	source  *Snapshot
	actions map[string]*posterior
	prior   *posterior
}

// posterior is the normal distribution of θ.
type posterior struct {
	mean []float64
	root [][]float64 // lower triangle L of the precision, L·Lᵀ
}

// Model compiles the snapshot.
func (s *Snapshot) Model() (*Model, error) {
	_, hash, err := s.Text()
	if err != nil {
		return nil, err
	}
	m := &Model{Spec: &s.Spec, Hash: hash, source: s, actions: map[string]*posterior{}}
	if m.prior, err = s.Spec.posterior(s.Spec.NewSums()); err != nil {
		return nil, err
	}
	for action, sums := range s.Actions {
		if m.actions[action], err = s.Spec.posterior(sums); err != nil {
			return nil, fmt.Errorf("learn: %s: %w", action, err)
		}
	}
	return m, nil
}

// Snapshot returns the snapshot of which the model was compiled.
func (m *Model) Snapshot() *Snapshot { return m.source }

// noiseWeight is the weight of the declared noise, in outcomes.
const noiseWeight = 8

// posterior returns the posterior of θ ~ N(0, deviations²) and y = θ·x + N(0, v). v is the
// weighted mean of the declared noise² and the residual variance of the fit.
func (s *Spec) posterior(sums *Sums) (*posterior, error) {
	w := s.Width()
	if len(sums.XX) != w*(w+1)/2 || len(sums.XY) != w {
		return nil, fmt.Errorf("learn: sums of another context: want %d columns", w)
	}
	v := s.Noise * s.Noise
	p, err := s.given(sums, v)
	if err != nil {
		return nil, err
	}
	rest := float64(sums.YY) / unit // Σ (y − θ·x)² = Σ y² − 2 θ·Σxy + θᵀ·Σxxᵀ·θ
	k := 0
	for i := range w {
		rest -= 2 * p.mean[i] * float64(sums.XY[i]) / (unit * unit)
		for j := i; j < w; j++ {
			both := p.mean[i] * p.mean[j] * float64(sums.XX[k]) / (unit * unit)
			if j > i {
				both *= 2
			}
			rest, k = rest+both, k+1
		}
	}
	return s.given(sums, (noiseWeight*v+max(0, rest))/(noiseWeight+float64(sums.N)))
}

// given returns the posterior for a given variance v of an outcome.
func (s *Spec) given(sums *Sums, v float64) (*posterior, error) {
	w := s.Width()
	a := make([][]float64, w)
	for i := range a {
		a[i] = make([]float64, w)
	}
	k := 0
	for i := range w {
		for j := i; j < w; j++ {
			a[j][i] = float64(sums.XX[k]) / (unit * unit) / v
			k++
		}
		deviation := s.Deviation
		if i > 0 && s.Context[i-1].Deviation > 0 {
			deviation = s.Context[i-1].Deviation
		}
		a[i][i] += 1 / (deviation * deviation)
	}
	b := make([]float64, w)
	for i := range b {
		b[i] = float64(sums.XY[i]) / (unit * unit) / v
	}
	if err := cholesky(a); err != nil {
		return nil, err
	}
	p := &posterior{root: a, mean: forward(a, b)}
	backward(a, p.mean)
	return p, nil
}

// cholesky turns the lower triangle of a into L with L·Lᵀ = a.
func cholesky(a [][]float64) error {
	for j := range a {
		for i := j; i < len(a); i++ {
			sum := a[i][j]
			for k := range j {
				sum -= a[i][k] * a[j][k]
			}
			if i == j {
				if !(sum > 0) {
					return fmt.Errorf("learn: the precision is not positive definite")
				}
				a[i][i] = math.Sqrt(sum)
			} else {
				a[i][j] = sum / a[j][j]
			}
		}
	}
	return nil
}

// forward solves L·z = b.
func forward(l [][]float64, b []float64) []float64 {
	z := make([]float64, len(b))
	for i := range b {
		sum := b[i]
		for k := range i {
			sum -= l[i][k] * z[k]
		}
		z[i] = sum / l[i][i]
	}
	return z
}

// backward solves Lᵀ·x = z in place.
func backward(l [][]float64, z []float64) {
	for i := len(z) - 1; i >= 0; i-- {
		for k := i + 1; k < len(z); k++ {
			z[i] -= l[k][i] * z[k]
		}
		z[i] /= l[i][i]
	}
}

// Worth returns the expected outcome of an action beyond its formula's value, and the
// standard deviation of that expectation.
func (m *Model) Worth(action string, x []float64) (mean, deviation float64) {
	p, ok := m.actions[action]
	if !ok {
		p = m.prior
	}
	for i := range x {
		mean += p.mean[i] * x[i]
	}
	var ss float64
	for _, z := range forward(p.root, x) { // xᵀ·(L·Lᵀ)⁻¹·x = |L⁻¹·x|²
		ss += z * z
	}
	return mean, math.Sqrt(ss)
}

// Option is an action that may be sent.
type Option struct {
	Action     string
	Guess      float64 // the formula's value
	Worth      float64 // the expected reward
	Propensity float64 // the chance with which to send it
}

// Weigh sets the expected reward and the propensity of each option. It returns the
// propensity of sending nothing, whose reward is 0; together they sum to 1. An option's
// propensity is the share of Monte Carlo draws in which it is the best, within the floor
// and the ceiling. The choice must be drawn from these propensities, so that they are
// exact. Equal seeds give equal results, bit for bit.
func (m *Model) Weigh(options []Option, x []float64, seed uint64) (none float64) {
	deviations := make([]float64, len(options))
	bold := cmp.Or(m.Spec.Boldness, 1)
	top, most := -1, 0.0
	for i := range options {
		o := &options[i]
		mean, dev := m.Worth(o.Action, x)
		o.Worth, deviations[i] = o.Guess+mean, bold*dev
		if o.Worth > most {
			top, most = i, o.Worth
		}
	}
	rng := rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15))
	wins := make([]int, len(options)+1) // the last one: nothing
	for range m.Spec.Draws {
		first, best := len(options), 0.0
		for i := range options {
			if v := options[i].Worth + deviations[i]*rng.NormFloat64(); v > best {
				first, best = i, v
			}
		}
		wins[first]++
	}
	if top < 0 {
		top = len(options)
	}
	share := 1 - float64(wins[top])/float64(m.Spec.Draws) // of the draws in which another option is the best
	shrink := 1.0
	if share > m.Spec.Ceiling {
		shrink = m.Spec.Ceiling / share
	}
	floor := m.Spec.floorOf(len(options))
	rest := 1 - floor*float64(len(options))
	left := 1.0
	for i := range options {
		p := float64(wins[i]) / float64(m.Spec.Draws) * shrink
		if i == top {
			p = 1 - share*shrink
		}
		options[i].Propensity = floor + rest*p
		left -= options[i].Propensity
	}
	return max(0, left)
}

// floorOf returns the least propensity of each of n options. All floors together are at most
// one half, so that the option that looks best is still sent if there are many.
func (s *Spec) floorOf(n int) float64 { return min(s.Floor, 0.5/float64(max(1, n))) }
