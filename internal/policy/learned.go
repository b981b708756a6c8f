package policy

import (
	"math"
	"slices"
	"strings"

	"pitboss/internal/learn"
)

// LearnedModel is what a kill switch calls all that was learned: with it on, the
// values decide again.
const LearnedModel = "learned"

// chooseLearned draws among the candidates that rules, caps and protection left,
// by what was learned of them. false: the arm does not learn, there is no
// snapshot, or its context is not known of this player.
func (s *sitting) chooseLearned(d *Decision, arm Arm) (chosen int, done bool) {
	m := s.p.learned
	if m == nil || !arm.Learned || s.kill[Switch("model", LearnedModel)] {
		return -1, false
	}
	x, known := learnedContext(m.Spec, s.p.lang.featureNames, s.in, s.scope.scores)
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

// learnedContext is the context that a decision on in is learned in, of features
// by names in the order of in.Features.
func learnedContext(spec *learn.Spec, names []string, in *Input, scores map[string]float64) ([]float64, bool) {
	return spec.X(func(name string) (float64, bool) {
		if score, ok := strings.CutPrefix(name, "scores."); ok {
			v, ok := scores[score]
			return v, ok
		}
		feature := strings.TrimPrefix(name, "features.")
		i := slices.Index(names, feature)
		if i < 0 || i >= len(in.Features) || slices.Contains(in.Missing, feature) {
			return 0, false
		}
		return in.Features[i], true
	})
}

// Lessons are what each outcome of a decision, by rank from 1 on, would add to
// its action's sums; nil where it teaches nothing: it was not issued, its kind is
// not learned, or its context is not known (any more). names are the features in
// the order of the record's.
func (r *Record) Lessons(spec *learn.Spec, names []string) []*learn.Sums {
	d := &r.Decision
	if !d.Issued || !spec.Learns(d.Kind) || r.Input.Player == "" {
		return nil
	}
	s := &sitting{in: &r.Input, kill: map[string]bool{}}
	for _, k := range r.Input.Killed {
		s.kill[k] = true
	}
	x, known := learnedContext(spec, names, &r.Input, s.liveScores())
	n := slices.IndexFunc(d.Candidates, func(c Candidate) bool { return c.Action == d.Action })
	if !known || n < 0 {
		return nil
	}
	var out []*learn.Sums
	for rank := 1; rank < learn.Ranks; rank++ {
		out = append(out, spec.Row(x, d.Kind, rank, d.Candidates[n].Value))
	}
	return out
}
