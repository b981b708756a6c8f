package policy

import (
	"math"
	"strings"

	"pitboss/internal/learn"
)

// chooseLearned draws among the candidates that rules, caps and protection left,
// by what was learned of them. false: the arm does not learn, there is no
// snapshot, or its context is not known of this player.
func (s *sitting) chooseLearned(d *Decision, arm Arm) (chosen int, done bool) {
	m := s.p.learned
	if m == nil || !arm.Learned {
		return -1, false
	}
	x, known := s.p.LearnedContext(m.Spec, s.in, s.scope.scores)
	if !known {
		return -1, false
	}
	var options []learn.Option
	var at []int
	for i := range d.Candidates {
		if c := &d.Candidates[i]; len(c.Blocked) == 0 && c.Kind != Protection {
			options, at = append(options, learn.Option{Action: c.Action, Guess: c.Value}), append(at, i)
		}
	}
	if len(options) == 0 {
		return -1, false
	}
	salt := s.p.file.Experiment.Salt
	seed := math.Float64bits(unit("propensities", salt, s.in.Player, s.in.Decision))
	none := m.Weigh(options, x, seed)
	d.Learned = m.Hash
	chosen = -1
	draw := unit("draw", salt, s.in.Player, s.in.Decision) - none
	for k, o := range options {
		c := &d.Candidates[at[k]]
		c.Learned, c.Propensity = o.Worth, o.Propensity
		if draw >= 0 && o.Propensity > 0 {
			chosen = at[k]
			draw -= o.Propensity
		}
	}
	if chosen < 0 {
		d.Propensity = none
	}
	return chosen, true
}

// LearnedContext is the context that a decision on in is learned in. scores are
// those of models that no kill switch names.
func (p *Policy) LearnedContext(spec *learn.Spec, in *Input, scores map[string]float64) ([]float64, bool) {
	return spec.X(func(name string) (float64, bool) {
		if score, ok := strings.CutPrefix(name, "scores."); ok {
			v, ok := scores[score]
			return v, ok
		}
		feature := strings.TrimPrefix(name, "features.")
		for i, n := range p.lang.featureNames {
			if n == feature && i < len(in.Features) {
				for _, missing := range in.Missing {
					if missing == feature {
						return 0, false
					}
				}
				return in.Features[i], true
			}
		}
		return 0, false
	})
}

// LearnedRow is what the outcome (its rank) of a decision adds to its action's
// sums; nil where the decision teaches nothing: it was not issued, its kind is
// not learned, or its input or context is not known any more.
func (p *Policy) LearnedRow(spec *learn.Spec, r *Record, rank int) *learn.Sums {
	d := &r.Decision
	if !d.Issued || !spec.Learns(d.Kind) || r.Input.Player == "" {
		return nil
	}
	x, known := p.LearnedContext(spec, &r.Input, p.sit(&r.Input).scope.scores)
	if !known {
		return nil
	}
	for i := range d.Candidates {
		if d.Candidates[i].Action == d.Action {
			return spec.Row(x, d.Kind, rank, d.Candidates[i].Value)
		}
	}
	return nil
}
