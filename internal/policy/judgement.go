package policy

import (
	"fmt"
	"math"
	"slices"
	"time"

	"pitboss/internal/learn"
)

// Trier judges a learned policy by the journal. It estimates the reward and the
// harm that the candidate would have had in the decisions of arms that explore,
// and compares both with today's policy.
//
// For each stored decision, both policies choose again among the candidates that
// rules, caps and protection left. The decision's outcome is weighted by the
// chance with which the policy chooses the logged action, over the chance with
// which the arm chose it. Sending nothing has reward 0 by definition, and the
// players held out show how often markers of harm follow it, so that sending
// nothing needs no support in the log.
type Trier struct {
	spec      *learn.Spec // the candidate's: its rewards and its window
	candidate *learn.Model
	today     *learn.Model // nil: the best value of actions.yaml

	at   map[string]int // decision → its row
	rows []triedRow
	open map[uint64][]int // by player: rows for which signs of harm may still come
}

// triedRow is a decision of an arm that explores.
type triedRow struct {
	player           uint64
	at               time.Time
	actions          []string
	chosen           int  // of actions; -1: nothing was sent
	held             bool // the player is held out: the row only shows what follows sending nothing
	propensity       float64
	candidate, today []float64 // the chances that the two policies give the actions
	uncovered        float64   // the candidate's chance of an action that the arm could not have chosen
	kind             string
	rank             int // of the outcome
	harmed           bool
	markers          []string
}

// NewTrier returns a Trier without any decisions. A nil today stands for the best
// value of actions.yaml.
func NewTrier(candidate, today *learn.Model) *Trier {
	return &Trier{spec: candidate.Spec, candidate: candidate, today: today, at: map[string]int{}, open: map[uint64][]int{}}
}

// Decision adds a stored decision. Decisions of one player must come in order of
// time. names lists the decision's features in order, salt is its policy's.
func (t *Trier) Decision(r *Record, names []string, salt string) {
	d, player := &r.Decision, DecisionKey(r.Input.Player)
	t.harm(player, r.Input.Now, d)
	row := triedRow{player: player, at: r.Input.Now, chosen: -1, propensity: d.Propensity, kind: d.Kind, rank: 1}
	options, at := learnedOptions(d.Candidates)
	if r.Input.Player == "" || len(options) == 0 || d.Issued && d.Kind == Protection || !d.Holdout && !explored(d) {
		return
	}
	row.held = d.Holdout
	row.candidate, row.today = t.chances(t.candidate, r, names, salt, options), t.chances(t.today, r, names, salt, options)
	for i, o := range options {
		row.actions = append(row.actions, o.Action)
		if d.Candidates[at[i]].Propensity == 0 {
			row.uncovered += row.candidate[i]
		}
		if d.Issued && o.Action == d.Action {
			row.chosen = i
		}
	}
	row.markers = markerIDs(d.Markers)
	t.at[r.Input.Decision] = len(t.rows)
	t.open[player] = append(t.open[player], len(t.rows))
	t.rows = append(t.rows, row)
}

// explored reports whether the choice was drawn at random.
func explored(d *Decision) bool {
	return d.Learned != "" || d.Issued && d.Propensity > 0 && d.Propensity < 1
}

// chances returns the chances with which a policy would choose the options.
func (t *Trier) chances(m *learn.Model, r *Record, names []string, salt string, options []learn.Option) []float64 {
	out := make([]float64, len(options))
	if m != nil {
		if x, known := r.context(m.Spec, names); known {
			mine := slices.Clone(options)
			m.Weigh(mine, x, weighSeed(salt, &r.Input))
			for i := range mine {
				out[i] = mine[i].Propensity
			}
			return out
		}
	}
	top := -1
	for i, o := range options {
		if o.Guess > 0 && (top < 0 || o.Guess > options[top].Guess) {
			top = i
		}
	}
	if top >= 0 {
		out[top] = 1
	}
	return out
}

// harm marks the earlier decisions about a player after which a new marker of harm
// has appeared, and forgets those whose time is over.
func (t *Trier) harm(player uint64, at time.Time, d *Decision) {
	left := t.open[player][:0]
	for _, i := range t.open[player] {
		row := &t.rows[i]
		if at.Sub(row.at) > trialFor {
			continue
		}
		left = append(left, i)
		row.harmed = row.harmed || newMarker(d.Markers, row.at, row.markers)
	}
	if len(left) == 0 {
		delete(t.open, player)
		return
	}
	t.open[player] = left
}

// newMarker reports whether a marker was seen after a time and is not among those
// known at that time.
func newMarker(markers []Marker, after time.Time, known []string) bool {
	return slices.ContainsFunc(markers, func(m Marker) bool { return m.At.After(after) && !slices.Contains(known, m.ID) })
}

// Outcome adds the outcome of a decision that was added before.
func (t *Trier) Outcome(o *Outcome) {
	i, ok := t.at[o.Decision]
	if !ok || o.At.Sub(t.rows[i].at) > time.Duration(t.spec.Window) {
		return
	}
	t.rows[i].rank = max(t.rows[i].rank, learn.Rank(o.Status))
}

// Versus compares one measure of the candidate with today's policy.
type Versus struct {
	Name      string    `json:"name"` // reward, harmed, dismissed
	Candidate OffPolicy `json:"candidate"`
	Today     OffPolicy `json:"today"`
	// Difference is candidate − today, doubly robust. Its interval does not assume
	// that the decisions of one player are independent.
	Difference Estimate `json:"difference"`
}

// Judgement is the result of holding a candidate against the journal.
type Judgement struct {
	Choices   int      `json:"choices"`
	Waiting   int      `json:"waiting"` // choices that don't count yet: their outcomes may still come
	Players   int      `json:"players"`
	Uncovered float64  `json:"uncovered"` // share of the candidate's choices that the logged arms could not have made
	Measures  []Versus `json:"measures"`  // the reward, then the guard rails
	// Refused lists why the candidate may not be promoted. If it is empty, it may.
	Refused []string `json:"refused,omitempty"`
}

// Gate is what a candidate must reach to be promoted.
type Gate struct {
	Choices   int     // the least number of choices
	Effective float64 // the least effective sample size
	Uncovered float64 // the largest Judgement.Uncovered
	Margin    float64 // how far a guard rail's upper bound may be above today's, as a share
}

// DefaultGate is the gate of `pitboss policy`.
var DefaultGate = Gate{Choices: 500, Effective: 200, Uncovered: 0.02, Margin: 0.01}

// Judge compares the candidate with today's policy and checks the result against
// the gate. It counts only decisions old enough for all their outcomes to be in at
// the time now. A younger decision would bias the estimate either way: counting its
// outcomes so far gives too little, and counting it only if it has one, too much.
func (t *Trier) Judge(g Gate, now time.Time) *Judgement {
	j := &Judgement{}
	players := map[uint64]bool{}
	var rows []*triedRow
	for i := range t.rows {
		r := &t.rows[i]
		if now.Sub(r.at) <= max(time.Duration(t.spec.Window), trialFor) {
			j.Waiting += 1 - int(is(r.held))
			continue
		}
		rows = append(rows, r)
		if !r.held {
			players[r.player] = true
			j.Choices++
			j.Uncovered += r.uncovered
		}
	}
	j.Players, j.Uncovered = len(players), j.Uncovered/max(1, float64(j.Choices))
	j.Measures = []Versus{
		versus(rows, "reward", func(r *triedRow) float64 { return t.spec.Reward(r.kind, r.rank) }),
		versus(rows, "harmed", func(r *triedRow) float64 { return is(r.harmed) }),
		versus(rows, "dismissed", func(r *triedRow) float64 { return is(r.rank == learn.Rank("dismissed")) }),
	}
	j.refuse(g)
	return j
}

func is(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// refuse lists what the candidate lacks to pass the gate.
func (j *Judgement) refuse(g Gate) {
	no := func(format string, args ...any) { j.Refused = append(j.Refused, fmt.Sprintf(format, args...)) }
	if j.Choices < g.Choices {
		no("only %d random choices in the journal have all their outcomes, %d are needed (%d more wait for theirs)", j.Choices, g.Choices, j.Waiting)
		return
	}
	reward := j.Measures[0]
	if reward.Candidate.Effective < g.Effective {
		no("the effective sample size is only %.0f, %.0f are needed: the candidate chooses too differently from the logged arms", reward.Candidate.Effective, g.Effective)
	}
	if j.Uncovered > g.Uncovered {
		no("the logged arms could not have made %.3f of its choices, at most %.3f is allowed", j.Uncovered, g.Uncovered)
	}
	if !(reward.Difference.Low > 0) {
		no("the reward is not shown to be above today's: the difference is at least %.3f", reward.Difference.Low)
	}
	for _, m := range j.Measures[1:] {
		if !(m.Difference.High <= g.Margin) {
			no("%s may be worse than today's by up to %.4f, at most %.4f is allowed", m.Name, m.Difference.High, g.Margin)
		}
	}
}

// nothing stands for sending no action.
const nothing = ""

// action returns the action that was sent, or nothing.
func (r *triedRow) action() string {
	if r.chosen < 0 {
		return nothing
	}
	return r.actions[r.chosen]
}

// versus estimates one measure under both policies.
func versus(rows []*triedRow, name string, of func(*triedRow) float64) Versus {
	means := newActionMeans()
	for _, r := range rows {
		means.add(r.player, r.action(), of(r))
	}
	var logs [2][]loggedChoice
	var differences []float64
	var players []uint64
	for _, r := range rows {
		if r.held {
			continue
		}
		a, b := r.logged(r.candidate, means, of), r.logged(r.today, means, of)
		logs[0], logs[1] = append(logs[0], a), append(logs[1], b)
		differences, players = append(differences, a.robust()-b.robust()), append(players, r.player)
	}
	return Versus{Name: name, Candidate: evaluateOffPolicy(logs[0]), Today: evaluateOffPolicy(logs[1]), Difference: clustered(differences, players)}
}

// logged returns the row as it counts for a policy that gives the actions these chances.
func (r *triedRow) logged(chances []float64, means actionMeans, of func(*triedRow) float64) loggedChoice {
	none := 1.0
	l := loggedChoice{Reward: of(r), Propensity: r.propensity, Fitted: means.guess(r.player, r.action())}
	for i, p := range chances {
		none -= p
		l.Direct += p * means.guess(r.player, r.actions[i])
	}
	none = max(0, none)
	l.Direct += none * means.guess(r.player, nothing)
	l.Target = none
	if r.chosen >= 0 {
		l.Target = chances[r.chosen]
	}
	return l
}

// clustered returns the mean of values with an interval that assumes independent
// players, not independent values (Liang and Zeger 1986).
func clustered(values []float64, players []uint64) Estimate {
	n := float64(len(values))
	if n == 0 {
		return Estimate{Low: math.Inf(-1), High: math.Inf(1)}
	}
	var mean float64
	for _, v := range values {
		mean += v / n
	}
	sums, order := map[uint64]float64{}, []uint64{} // in order, so that equal logs give equal bits
	for i, v := range values {
		if _, known := sums[players[i]]; !known {
			order = append(order, players[i])
		}
		sums[players[i]] += v - mean
	}
	var ss float64
	for _, player := range order {
		ss += sums[player] * sums[player]
	}
	m := float64(len(sums))
	half := z95 * math.Sqrt(ss*m/max(1, m-1)) / n
	return Estimate{mean, mean - half, mean + half}
}
