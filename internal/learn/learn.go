// Package learn learns the value of actions by Thompson sampling over a Bayesian linear
// model per action (Agrawal and Goyal 2013), whose prior is the author's formula in
// actions.yaml.
//
//	learning.yaml ─▶ Spec ─┐
//	sums in Redis ─▶ Sums ─┴▶ Snapshot ─▶ Model ─▶ Choice: the propensities of what may be sent
//
// The expected outcome of an action is its formula's value plus θ·x. x is a small declared
// context. θ is unknown and 0 at first, so that a new action starts at its author's guess.
// The data for θ are the sums of x·xᵀ, x·(reward − formula) and (reward − formula)². They
// are integers, so that neither the order nor the instance that adds them matters.
//
// Rewards are mostly 0 or one of a few values. The mean of such a reward is linear in the
// share of players who accept, and its variance is estimated per action from the sums. For
// a constant context that is the normal approximation of a Beta posterior. Rejected: a
// logistic model, which would need every decision again at every step; sums in Redis can't
// provide that.
//
// The package only knows numbers. Which actions may be sent is decided before.
package learn

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"pitboss/internal/strictyaml"
)

// Spec is the content of learning.yaml: the context, the rewards and the bounds of learning.
type Spec struct {
	Version int `yaml:"version" json:"version"`
	// Mode is learning (snapshots follow the outcomes) or frozen (Snapshot stays).
	Mode string `yaml:"mode" json:"mode"`
	// Snapshot is the file of the policy in frozen mode, relative to the models folder.
	Snapshot string `yaml:"snapshot,omitempty" json:"snapshot,omitempty"`
	// Context lists the columns of x, after a constant 1.
	Context []Column `yaml:"context" json:"context"`
	// Deviation is the prior standard deviation of the constant: how far the formulas may
	// be off, in their own unit. Noise is a guess at the standard deviation of an outcome
	// around its expectation. It weighs as much as noiseWeight outcomes; with more of
	// them, their own variance dominates.
	Deviation float64 `yaml:"deviation" json:"deviation"`
	Noise     float64 `yaml:"noise" json:"noise"`
	// Boldness scales the standard deviation of the draws. Below 1 it explores less than
	// Thompson sampling, which loses less if rewards are rare (Chapelle and Li 2011).
	// 0 means 1.
	Boldness float64 `yaml:"boldness,omitempty" json:"boldness,omitzero"`
	// Floor is the least propensity of an action that may be sent. It is lowered if all
	// floors together would exceed one half. Ceiling is the largest share of the rest that
	// goes to options other than the one that looks best.
	Floor   float64 `yaml:"floor" json:"floor"`
	Ceiling float64 `yaml:"ceiling" json:"ceiling"`
	// Draws is the number of Monte Carlo draws for the propensities.
	Draws int `yaml:"draws" json:"draws"`
	// Window is how long to wait for an outcome. One that never comes has reward 0.
	Window Window `yaml:"window" json:"window"`
	// Rewards are the rewards of outcomes in the formulas' unit, by kind of action
	// (service, marketing) and outcome. Protection is not learned.
	Rewards map[string]map[string]float64 `yaml:"rewards" json:"rewards"`
	// Segments are the groups of players for which `pitboss policy uplift` reports effects.
	Segments []Segment `yaml:"segments" json:"-"`
}

// Segment groups the players by a word (facts.jurisdiction, facts.brand), or by cutting
// the range of a number (features.NAME, scores.NAME) at Cuts.
type Segment struct {
	Name string    `yaml:"name"`
	By   string    `yaml:"by"`
	Cuts []float64 `yaml:"cuts,flow"`
}

// Word returns the name of a word's segment.
func (s *Segment) Word(v string) string { return s.Name + "=" + v }

// Number returns the name of a number's segment.
func (s *Segment) Number(v float64) string {
	n := 0
	for n < len(s.Cuts) && v >= s.Cuts[n] {
		n++
	}
	switch n {
	case 0:
		return fmt.Sprintf("%s<%g", s.Name, s.Cuts[0])
	case len(s.Cuts):
		return fmt.Sprintf("%s>=%g", s.Name, s.Cuts[n-1])
	}
	return fmt.Sprintf("%s=%g..%g", s.Name, s.Cuts[n-1], s.Cuts[n])
}

func (s *Segment) check() error {
	numbered := strings.HasPrefix(s.By, "features.") || strings.HasPrefix(s.By, "scores.")
	switch {
	case s.Name == "":
		return fmt.Errorf("segments: one has no name")
	case s.By != "facts.jurisdiction" && s.By != "facts.brand" && !numbered:
		return fmt.Errorf("segments: %s: by must be facts.jurisdiction, facts.brand, features.NAME or scores.NAME, is %q", s.Name, s.By)
	case numbered != (len(s.Cuts) > 0) || !slices.IsSorted(s.Cuts):
		return fmt.Errorf("segments: %s: cuts must be in order for a number, and absent for a word", s.Name)
	}
	return nil
}

// Column is one number of the context: features.NAME or scores.NAME, divided by Scale.
// Deviation is the prior standard deviation of its coefficient. It should be smaller than
// for the constant, because the formulas use most of the context already and a large one
// costs exploration. 0 means as for the constant.
type Column struct {
	Name      string  `yaml:"name" json:"name"`
	Scale     float64 `yaml:"scale" json:"scale"`
	Deviation float64 `yaml:"deviation,omitempty" json:"deviation,omitzero"`
}

// Window is a time.Duration as text.
type Window time.Duration

// UnmarshalText reads 90m, 24h.
func (w *Window) UnmarshalText(b []byte) error {
	d, err := time.ParseDuration(string(b))
	*w = Window(d)
	return err
}

// MarshalText writes what UnmarshalText reads.
func (w Window) MarshalText() ([]byte, error) { return []byte(time.Duration(w).String()), nil }

// Modes of a [Spec].
const (
	Learning = "learning"
	Frozen   = "frozen"
)

// mostColumns bounds the context: sums grow by its square.
const mostColumns = 7

// outcomes lists the outcomes that may have a reward, by rank. Of several outcomes of a
// decision the one of the highest rank counts, in whatever order they come.
var outcomes = []string{"", "issued", "delivered", "expired", "dismissed", "accepted"}

// Rank returns the rank of an outcome: 1 is issued, 0 is unknown.
func Rank(outcome string) int { return max(0, slices.Index(outcomes, outcome)) }

// Ranks is one more than the highest rank.
var Ranks = len(outcomes)

// ReadSpec reads learning.yaml. It returns nil if there is none.
func ReadSpec(path string) (*Spec, error) {
	body, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("learn: %w", err)
	}
	s := &Spec{}
	if err := strictyaml.Decode(body, s); err != nil {
		return nil, fmt.Errorf("learn: %s: %w", path, err)
	}
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("learn: %s: %w", path, err)
	}
	return s, nil
}

func (s *Spec) check() error {
	switch {
	case s.Mode != Learning && s.Mode != Frozen:
		return fmt.Errorf("mode must be %s or %s, is %q", Learning, Frozen, s.Mode)
	case s.Mode == Frozen && s.Snapshot == "":
		return fmt.Errorf("snapshot must name a file in frozen mode")
	case len(s.Context) > mostColumns:
		return fmt.Errorf("context has %d columns, at most %d", len(s.Context), mostColumns)
	case !(s.Deviation > 0) || !(s.Noise > 0):
		return fmt.Errorf("deviation and noise must be above 0, are %g and %g", s.Deviation, s.Noise)
	case !(s.Boldness >= 0 && s.Boldness <= 2):
		return fmt.Errorf("boldness must be from 0 to 2, is %g", s.Boldness)
	case !(s.Floor >= 0 && s.Floor <= 0.1) || !(s.Ceiling >= 0 && s.Ceiling <= 1):
		return fmt.Errorf("floor must be from 0 to 0.1 and ceiling from 0 to 1, are %g and %g", s.Floor, s.Ceiling)
	case s.Draws < 16 || s.Draws > 1024:
		return fmt.Errorf("draws must be from 16 to 1024, is %d", s.Draws)
	case s.Window <= 0:
		return fmt.Errorf("window must be above 0")
	}
	for _, c := range s.Context {
		if !(c.Deviation >= 0) {
			return fmt.Errorf("context: deviation of %q must be at least 0, is %g", c.Name, c.Deviation)
		}
		if !(c.Scale > 0) || !strings.HasPrefix(c.Name, "features.") && !strings.HasPrefix(c.Name, "scores.") {
			return fmt.Errorf("context: %q must be features.NAME or scores.NAME with a scale above 0", c.Name)
		}
	}
	for i := range s.Segments {
		if err := s.Segments[i].check(); err != nil {
			return err
		}
	}
	for kind, by := range s.Rewards {
		if kind != "service" && kind != "marketing" {
			return fmt.Errorf("rewards: %q is not learned: only service and marketing are", kind)
		}
		for outcome, v := range by {
			if Rank(outcome) < 2 || math.Abs(v) > largest {
				return fmt.Errorf("rewards: %s: %q must be one of %s, worth at most %g", kind, outcome, strings.Join(outcomes[2:], ", "), largest)
			}
		}
	}
	return nil
}

// largest bounds a reward and a formula's value, so that sums do not overflow.
const largest = 1e5

// sumsLayout is part of the key of sums. It changes with their layout.
const sumsLayout = 2

// Width returns the number of coefficients per action.
func (s *Spec) Width() int { return 1 + len(s.Context) }

// Key identifies the sums. A change of the context or the rewards changes it, so that
// incompatible sums are never mixed.
func (s *Spec) Key() string {
	var columns []any
	for _, c := range s.Context {
		columns = append(columns, []any{c.Name, c.Scale})
	}
	text, err := json.Marshal([]any{sumsLayout, columns, s.Rewards}, json.Deterministic(true))
	if err != nil { // of numbers and strings
		panic(err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// X returns the context of a decision, quantised like the sums, or false if a column is
// unknown.
func (s *Spec) X(get func(name string) (float64, bool)) ([]float64, bool) {
	x := make([]float64, 1, s.Width())
	x[0] = 1
	for _, c := range s.Context {
		v, ok := get(c.Name)
		if !ok || math.IsNaN(v) {
			return nil, false
		}
		x = append(x, fixed(min(max(v/c.Scale, -8), 8))/unit)
	}
	return x, true
}

// unit is the value of 1 in the sums.
const unit = 1000

func fixed(v float64) float64 { return math.Round(v * unit) }

// Sums holds the data of one action: the sums of the rows of its decisions, see [Spec.Row].
type Sums struct {
	N  int64   `json:"n"`
	XX []int64 `json:"xx"` // upper triangle, row by row, in 1e-6
	XY []int64 `json:"xy"` // in 1e-6
	YY int64   `json:"yy"` // in 1e-3
}

// NewSums returns empty sums.
func (s *Spec) NewSums() *Sums {
	w := s.Width()
	return &Sums{XX: make([]int64, w*(w+1)/2), XY: make([]int64, w)}
}

// Reward returns the reward of an outcome, by its rank, for a kind of action.
func (s *Spec) Reward(kind string, rank int) float64 { return s.Rewards[kind][outcomes[rank]] }

// Learns reports whether actions of the kind are learned.
func (s *Spec) Learns(kind string) bool { _, ok := s.Rewards[kind]; return ok }

// Row returns what a decision with context x adds to its action's sums if its outcome has
// a rank. guess is the formula's value.
func (s *Spec) Row(x []float64, kind string, rank int, guess float64) *Sums {
	r := s.NewSums()
	r.N = 1
	y := fixed(min(max(s.Reward(kind, rank)-guess, -largest), largest))
	r.YY = int64(math.Round(y / unit * y))
	k := 0
	for i := range x {
		a := fixed(x[i])
		r.XY[i] = int64(a * y)
		for j := i; j < len(x); j++ {
			r.XX[k] = int64(a * fixed(x[j]))
			k++
		}
	}
	return r
}

// Add adds b to a.
func (a *Sums) Add(b *Sums) { a.add(b, func(v int64) int64 { return v }) }

// add adds each of b's sums to a's, scaled by a function.
func (a *Sums) add(b *Sums, scaled func(int64) int64) {
	a.N += scaled(b.N)
	a.YY += scaled(b.YY)
	for i, v := range b.XX {
		a.XX[i] += scaled(v)
	}
	for i, v := range b.XY {
		a.XY[i] += scaled(v)
	}
}
