package policy

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"time"

	"pitboss/internal/learn"
	"pitboss/internal/strictyaml"
)

// Experiment returns the policy's holdout and arms.
func (p *Policy) Experiment() Experiment { return p.file.Experiment }

// ReadExperiment reads the experiment of an actions.yaml.
func ReadExperiment(path string) (Experiment, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Experiment{}, fmt.Errorf("policy: %w", err)
	}
	var file ActionFile
	if err := strictyaml.Decode(text, &file); err != nil {
		return Experiment{}, fmt.Errorf("policy: %s: %w", path, err)
	}
	return file.Experiment, nil
}

// The outcomes of a trial.
const (
	OutcomeStayed = "stayed" // seen again between 10 minutes and 24 hours later
	OutcomeHarmed = "harmed" // showed a marker of harm within 24 hours that did not hold before
)

// trialFor is how long a trial waits for its outcomes.
const trialFor = stayedBefore

// Trial is a player's first decision at which an action of an arm was sent by
// chance (Sent), something else was, or the player was held out (Held). Trials
// compare the arm with the holdout, weighted by the chances of both.
type Trial struct {
	Player   string // a pseudonym
	At       time.Time
	Action   string
	Arm      string
	Segments []string // of the player, as NAME=VALUE
	Sent     bool
	Held     bool
	// PSent and PHeld are the chances of Sent and Held, among the players of the arm
	// and of the holdout together.
	PSent, PHeld float64

	Stayed, Harmed bool

	markers []string // that held at the decision
}

// Outcome is 1 if the outcome came, else 0.
func (t *Trial) Outcome(what string) float64 {
	return is(what == OutcomeStayed && t.Stayed || what == OutcomeHarmed && t.Harmed)
}

// Trials finds trials in a stream of decisions and collects their outcomes. The
// decisions of one player must come in order of time, those of different players
// may come in any order.
type Trials struct {
	experiment Experiment
	seen       func(player, action, arm string) bool
	most       int
	open       map[string][]*Trial // by player
	waiting    []*Trial            // all of open
}

// NewTrials returns Trials of an experiment. seen reports whether a player had a
// trial of the action before, and remembers that there is one now. At most `most`
// trials wait for their outcomes at a time; further ones are skipped.
func NewTrials(e Experiment, seen func(player, action, arm string) bool, most int) *Trials {
	return &Trials{experiment: e, seen: seen, most: most, open: map[string][]*Trial{}}
}

// Decision takes the next decision about a player.
func (ts *Trials) Decision(player string, at time.Time, d *Decision, segments []string) {
	for _, t := range ts.open[player] {
		if gap := at.Sub(t.At); gap <= trialFor {
			t.Stayed = t.Stayed || gap > stayedAfter
			t.Harmed = t.Harmed || newMarker(d.Markers, t.At, t.markers)
		}
	}
	e := &ts.experiment
	for i := range e.Arms {
		arm := &e.Arms[i]
		if !d.Holdout && arm.Name != d.Arm || e.Holdout <= 0 || arm.Share <= 0 {
			continue
		}
		held := e.Holdout / (e.Holdout + (1-e.Holdout)*arm.Share)
		for _, c := range arm.tried(d) {
			if len(ts.waiting) >= ts.most || ts.seen(player, c.Action, arm.Name) {
				continue
			}
			t := &Trial{Player: player, At: at, Action: c.Action, Arm: arm.Name, Segments: segments,
				Sent: d.Issued && d.Action == c.Action, Held: d.Holdout, PSent: (1 - held) * c.Propensity, PHeld: held,
				markers: markerIDs(d.Markers)}
			ts.open[player] = append(ts.open[player], t)
			ts.waiting = append(ts.waiting, t)
		}
	}
}

// tried returns the candidates that the arm would send with a propensity above 0.
// For a player held out, the stored propensities are those of an arm that takes the
// best value. An arm that explores would try others too; their exact propensities
// don't matter for a control.
func (a *Arm) tried(d *Decision) (out []Candidate) {
	if d.Kind == Protection {
		return nil
	}
	for _, c := range d.Candidates {
		able := c.Propensity > 0
		if d.Holdout && a.Temperature > 0 {
			able = c.Value > 0
		}
		if d.Holdout && a.Learned {
			able = true
		}
		if able && c.Kind != Protection && len(c.Blocked) == 0 {
			out = append(out, c)
		}
	}
	return out
}

// Settled removes and returns the trials whose outcomes can no longer change, the
// oldest first.
func (ts *Trials) Settled(now time.Time) (out []*Trial) {
	left := ts.waiting[:0]
	for _, t := range ts.waiting {
		if now.Sub(t.At) <= trialFor {
			left = append(left, t)
			continue
		}
		out = append(out, t)
		ts.open[t.Player] = slices.DeleteFunc(ts.open[t.Player], func(o *Trial) bool { return o == t })
		if len(ts.open[t.Player]) == 0 {
			delete(ts.open, t.Player)
		}
	}
	clear(ts.waiting[len(left):])
	ts.waiting = left
	slices.SortStableFunc(out, func(a, b *Trial) int { return a.At.Compare(b.At) })
	return out
}

// Effect is the effect of an action on an outcome, compared with no message. It is
// estimated doubly robustly (Robins, Rotnitzky and Zhao 1994). The chances are known
// and the means are those of the earlier trials, so that the expectation of each
// trial's score is the effect.
type Effect struct {
	Action  string `json:"action"`
	Arm     string `json:"arm"`
	Segment string `json:"segment,omitempty"` // NAME=VALUE; "": everybody
	Outcome string `json:"outcome"`
	Sent    int    `json:"sent"`
	Held    int    `json:"held"`

	Scores learn.Moments `json:"scores"`
	Hits   [2]float64    `json:"hits"` // among those sent, among those held out
}

// Add adds a trial.
func (e *Effect) Add(t *Trial) {
	y := t.Outcome(e.Outcome)
	both := (e.Hits[0] + e.Hits[1]) / max(1, float64(e.Sent+e.Held))
	m1, m0 := (e.Hits[0]+both)/(float64(e.Sent)+1), (e.Hits[1]+both)/(float64(e.Held)+1)
	score := m1 - m0
	switch {
	case t.Sent:
		score += (y - m1) / t.PSent
		e.Sent, e.Hits[0] = e.Sent+1, e.Hits[0]+y
	case t.Held:
		score -= (y - m0) / t.PHeld
		e.Held, e.Hits[1] = e.Held+1, e.Hits[1]+y
	}
	e.Scores.Add(score)
}

// tight is the number of trials at which the confidence sequence is narrowest. It
// holds asymptotically: there is none with fewer than fewest sent or held out.
const (
	tight  = 5000
	fewest = 50
)

// Interval returns the effect with a confidence sequence: it holds at all times
// simultaneously, with a probability of 1 − alpha.
func (e *Effect) Interval(alpha float64) learn.Interval {
	if e.Sent < fewest || e.Held < fewest {
		return learn.Interval{Value: e.Scores.Mean, Low: math.Inf(-1), High: math.Inf(1)}
	}
	return e.Scores.Always(alpha, tight)
}

// Effects holds the effects of all actions, by arm, segment and outcome.
type Effects map[effectKey]*Effect

type effectKey struct{ action, arm, segment, outcome string }

// Add adds a trial to the effects on an outcome, for all players and for each of its
// segments.
func (es Effects) Add(t *Trial, outcome string) {
	for _, segment := range append([]string{""}, t.Segments...) {
		k := effectKey{t.Action, t.Arm, segment, outcome}
		e := es[k]
		if e == nil {
			e = &Effect{Action: t.Action, Arm: t.Arm, Segment: segment, Outcome: outcome}
			es[k] = e
		}
		e.Add(t)
	}
}

// Forget removes the effects of an action on an outcome, so that counting starts again.
func (es Effects) Forget(action, outcome string) {
	maps.DeleteFunc(es, func(k effectKey, _ *Effect) bool { return k.action == action && k.outcome == outcome })
}

// All returns the effects, sorted by action, arm, outcome and segment.
func (es Effects) All() []*Effect {
	out := make([]*Effect, 0, len(es))
	for _, e := range es {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b *Effect) int {
		return cmp.Or(cmp.Compare(a.Action, b.Action), cmp.Compare(a.Arm, b.Arm), cmp.Compare(a.Outcome, b.Outcome), cmp.Compare(a.Segment, b.Segment))
	})
	return out
}

// Found is the state of timer's guard rail: the effects found so far.
type Found struct {
	Settled time.Time `json:"settled"` // trials up to this time are counted
	Effects []*Effect `json:"effects"`
	// Stopped lists the actions that the guard rail stopped and nobody has released.
	Stopped []string `json:"stopped,omitempty"`
}

// Told is an effect with its interval, for display.
type Told struct {
	*Effect
	Uplift   float64 `json:"uplift"`
	Low      float64 `json:"low"`
	High     float64 `json:"high"`
	TooEarly bool    `json:"too_early,omitzero"` // there is no interval yet
}

// Tell returns the effect with its 95 % confidence sequence.
func (e *Effect) Tell() Told {
	i := e.Interval(0.05)
	t := Told{Effect: e, Uplift: i.Value, Low: i.Low, High: i.High, TooEarly: math.IsInf(i.High, 1)}
	if t.TooEarly {
		t.Low, t.High = -1, 1
	}
	return t
}

// Restore returns the effects of a list that All returned.
func Restore(list []*Effect) Effects {
	es := Effects{}
	for _, e := range list {
		es[effectKey{e.Action, e.Arm, e.Segment, e.Outcome}] = e
	}
	return es
}
