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

// Experiment is how the policy parts the players.
func (p *Policy) Experiment() Experiment { return p.file.Experiment }

// ReadExperiment reads how an actions.yaml parts the players.
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

// What is asked of a trial.
const (
	OutcomeStayed = "stayed" // seen again between 10 minutes and 24 hours later
	OutcomeHarmed = "harmed" // showed a marker of harm within 24 hours that did not hold before
)

// trialFor is how long a trial's outcomes are waited for.
const trialFor = stayedBefore

// Trial is a player's first decision at which chance settled whether an action
// of an arm is sent (Sent), something else is, or the player is held out (Held).
// It compares the arm with the holdout, by the chances that both had.
type Trial struct {
	Player   string // a pseudonym
	At       time.Time
	Action   string
	Arm      string
	Segments []string // of the player, as NAME=VALUE
	Sent     bool
	Held     bool
	// PSent and PHeld are the chances among the arm's players and those held out.
	PSent, PHeld float64

	Stayed, Harmed bool

	markers []string // that held at the decision
}

// Outcome is 1 where what was asked for came.
func (t *Trial) Outcome(what string) float64 {
	if what == OutcomeStayed && t.Stayed || what == OutcomeHarmed && t.Harmed {
		return 1
	}
	return 0
}

// Trials finds trials in decisions, and what became of them. The decisions of one
// player come in order of time; of different players in any.
type Trials struct {
	experiment Experiment
	seen       func(player, action, arm string) bool
	most       int
	open       map[string][]*Trial // by player
	waiting    []*Trial            // all of open
}

// NewTrials returns Trials of an experiment. seen says whether a player had a
// trial of the action before, and remembers that they have one now. At most so
// many wait for their outcomes at once; others are passed over.
func NewTrials(e Experiment, seen func(player, action, arm string) bool, most int) *Trials {
	return &Trials{experiment: e, seen: seen, most: most, open: map[string][]*Trial{}}
}

// Decision takes the next decision about a player.
func (ts *Trials) Decision(player string, at time.Time, d *Decision, segments []string) {
	for _, t := range ts.open[player] {
		switch gap := at.Sub(t.At); {
		case gap > trialFor:
		default:
			t.Stayed = t.Stayed || gap > stayedAfter
			t.Harmed = t.Harmed || slices.ContainsFunc(d.Markers, func(m Marker) bool { return m.At.After(t.At) && !slices.Contains(t.markers, m.ID) })
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
				Sent: d.Issued && d.Action == c.Action, Held: d.Holdout, PSent: (1 - held) * c.Propensity, PHeld: held}
			for _, m := range d.Markers {
				t.markers = append(t.markers, m.ID)
			}
			ts.open[player] = append(ts.open[player], t)
			ts.waiting = append(ts.waiting, t)
		}
	}
}

// tried are the candidates that the arm would have sent with a propensity above
// 0. Of a player held out, the propensities are those of the best value alone: an
// arm that explores would have tried others, with propensities that a control
// does not need.
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

// Settled takes out the trials whose outcomes no decision up to now can change,
// the oldest first.
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

// Effect is what an action does to an outcome, against no message: doubly robust
// (Robins, Rotnitzky and Zhao 1994), with chances that are known and means of the
// trials before, so that each trial's score has the effect as its expectation.
type Effect struct {
	Action  string `json:"action"`
	Arm     string `json:"arm"`
	Segment string `json:"segment,omitempty"` // NAME=VALUE; "": everybody
	Outcome string `json:"outcome"`
	Sent    int    `json:"sent"`
	Held    int    `json:"held"`

	Scores learn.Moments `json:"scores"`
	Hits   [2]float64    `json:"hits"` // of those sent, of those held out
}

// Add takes a trial.
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

// tight is the number of trials at which the confidence sequence is narrowest;
// with fewer than fewest sent or held out there is none: it is asymptotic.
const (
	tight  = 5000
	fewest = 50
)

// Interval is the effect with a confidence sequence that holds at all times
// together with a probability of 1 − alpha.
func (e *Effect) Interval(alpha float64) learn.Interval {
	if e.Sent < fewest || e.Held < fewest {
		return learn.Interval{Value: e.Scores.Mean, Low: math.Inf(-1), High: math.Inf(1)}
	}
	return e.Scores.Always(alpha, tight)
}

// Effects are those of all actions, by arm and segment.
type Effects map[effectKey]*Effect

type effectKey struct{ action, arm, segment, outcome string }

// Add takes a trial for an outcome, for everybody and for each of its segments.
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

// Forget begins anew to count an outcome of an action.
func (es Effects) Forget(action, outcome string) {
	maps.DeleteFunc(es, func(k effectKey, _ *Effect) bool { return k.action == action && k.outcome == outcome })
}

// All are the effects by action, arm, outcome and segment.
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

// Found is what timer has found of the actions' effects so far, as it keeps it.
type Found struct {
	Settled time.Time `json:"settled"` // trials up to then are in it
	Effects []*Effect `json:"effects"`
	// Stopped are the actions that the guard rail stopped and nobody let go since.
	Stopped []string `json:"stopped,omitempty"`
}

// Told is an effect with its interval, as it is shown.
type Told struct {
	*Effect
	Uplift   float64 `json:"uplift"`
	Low      float64 `json:"low"`
	High     float64 `json:"high"`
	TooEarly bool    `json:"too_early,omitzero"` // there is no interval yet
}

// Tell gives an effect its 95 % confidence sequence.
func (e *Effect) Tell() Told {
	i := e.Interval(0.05)
	t := Told{Effect: e, Uplift: i.Value, Low: i.Low, High: i.High, TooEarly: math.IsInf(i.High, 1)}
	if t.TooEarly {
		t.Low, t.High = -1, 1
	}
	return t
}

// Restore puts effects back that All gave.
func Restore(list []*Effect) Effects {
	es := Effects{}
	for _, e := range list {
		es[effectKey{e.Action, e.Arm, e.Segment, e.Outcome}] = e
	}
	return es
}
