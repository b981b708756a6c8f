package policy

import (
	"math"
	"slices"
	"strings"

	"pitboss/internal/learn"
)

// LearnedModel is the name that the kill switch of the learned policy has. While it
// is on, the values of actions.yaml decide.
const LearnedModel = "learned"

// CalibrationModel is the name that the kill switch of score calibration has. While it
// is on, the models' own scores decide.
const CalibrationModel = "calibration"

// HarmScore is the score by which players are protected. It is never calibrated.
const HarmScore = "harm"

// chooseLearned draws one of the candidates by the learned policy. done is false if the
// arm does not learn, or [evaluation.draw] had nothing to draw from.
func (e *evaluation) chooseLearned(d *Decision, arm Arm) (chosen int, done bool) {
	if !arm.Learned {
		return -1, false
	}
	m := e.p.learned
	options, at, n, none := e.draw(m, d.Candidates)
	if len(options) == 0 {
		return -1, false
	}
	d.Learned = m.Hash
	for k, o := range options {
		c := &d.Candidates[at[k]]
		c.Learned, c.Propensity = o.Worth, o.Propensity
	}
	if n < 0 {
		d.Propensity = none
		return -1, true
	}
	return at[n], true
}

// shadow records what the learned policy in the shadow would choose among the same
// candidates.
func (e *evaluation) shadow(d *Decision) {
	m := e.p.shadow
	options, _, n, none := e.draw(m, d.Candidates)
	if len(options) == 0 {
		return
	}
	d.Shadow = &Shadowed{Learned: m.Hash, Action: NoAction, Propensity: none}
	if n >= 0 {
		d.Shadow.Action, d.Shadow.Propensity = options[n].Action, options[n].Propensity
	}
}

// draw sets the propensities of the candidates that rules, caps and protection left (their
// indices are at) by a model and draws one of these options, or -1 for none, whose
// propensity it returns. It returns no options if there is no model, the kill switch is on,
// or the player's context is unknown.
func (e *evaluation) draw(m *learn.Model, cs []Candidate) (options []learn.Option, at []int, chosen int, none float64) {
	if m == nil || e.killed("model", LearnedModel) {
		return nil, nil, -1, 0
	}
	x, known := learnedContext(m.Spec, e.p.lang.featureNames, e.in, e.scope.scores)
	options, at = learnedOptions(cs)
	if !known || len(options) == 0 {
		return nil, nil, -1, 0
	}
	salt := e.p.file.Experiment.Salt
	none = m.Weigh(options, x, weighSeed(salt, e.in))
	chosen = -1
	u := unit("draw", salt, e.in.Player, e.in.Decision) - none
	for k, o := range options {
		if u >= 0 && o.Propensity > 0 {
			chosen = k
			u -= o.Propensity
		}
	}
	return options, at, chosen, none
}

// learnedOptions returns the candidates that a learned policy may choose from, and
// their indices: those that rules and caps left, protection excepted.
func learnedOptions(cs []Candidate) (options []learn.Option, at []int) {
	options, at = make([]learn.Option, 0, len(cs)), make([]int, 0, len(cs))
	for i := range cs {
		if c := &cs[i]; len(c.Blocked) == 0 && c.Kind != Protection {
			options, at = append(options, learn.Option{Action: c.Action, Guess: c.Value}), append(at, i)
		}
	}
	return options, at
}

// weighSeed returns the seed of a decision's draws.
func weighSeed(salt string, in *Input) uint64 {
	return math.Float64bits(unit("propensities", salt, in.Player, in.Decision))
}

// learnedContext returns the context of a decision on in. names lists the features in
// the order of in.Features. It returns false if a part of the context is unknown.
func learnedContext(spec *learn.Spec, names []string, in *Input, scores map[string]float64) ([]float64, bool) {
	return spec.X(func(name string) (float64, bool) { return learnedValue(name, names, in, scores) })
}

// learnedValue returns features.NAME or scores.NAME of an input.
func learnedValue(name string, names []string, in *Input, scores map[string]float64) (float64, bool) {
	if score, ok := strings.CutPrefix(name, "scores."); ok {
		v, ok := scores[score]
		return v, ok
	}
	return in.feature(names, slices.Index(names, strings.TrimPrefix(name, "features.")))
}

// feature returns the value of feature i of names, or false if it is unknown.
func (in *Input) feature(names []string, i int) (float64, bool) {
	if i < 0 || i >= len(in.Features) || in.Missing != nil && slices.Contains(in.Missing, names[i]) {
		return 0, false
	}
	return in.Features[i], true
}

// Lessons returns what each possible outcome of a decision, by rank from 1 on, would
// add to the sums of its action. It returns nil if nothing is learned from the
// decision: it was not issued, its kind is not learned, or its context is unknown or
// erased. names lists the record's features in order.
func (r *Record) Lessons(spec *learn.Spec, names []string) []*learn.Sums {
	d := &r.Decision
	if !d.Issued || !spec.Learns(d.Kind) || r.Input.Player == "" {
		return nil
	}
	x, known := r.context(spec, names)
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

// context returns the context of a stored decision. names lists its features in order.
func (r *Record) context(spec *learn.Spec, names []string) ([]float64, bool) {
	e := &evaluation{in: &r.Input, kill: r.Input.kill()}
	return learnedContext(spec, names, &r.Input, e.liveScores())
}

// Segments returns the player's declared segments at the decision. A segment whose
// value is unknown or erased is left out.
func (r *Record) Segments(spec *learn.Spec, names []string) (out []string) {
	for i := range spec.Segments {
		switch g := &spec.Segments[i]; g.By {
		case "facts.jurisdiction":
			out = append(out, g.Word(r.Input.Facts.Jurisdiction))
		case "facts.brand":
			if r.Input.Player != "" {
				out = append(out, g.Word(r.Input.Facts.Brand))
			}
		default:
			if v, ok := learnedValue(g.By, names, &r.Input, r.Input.Scores); ok {
				out = append(out, g.Number(v))
			}
		}
	}
	return out
}
