package policy

import (
	"fmt"
	"math"
	"slices"
	"time"

	"pitboss/internal/learn"
)

// Trier judges a learned policy by the journal: what it would have earned, and
// done harm, in the decisions of arms that explore, against what decides today.
//
// Each stored decision is chosen again among the candidates that rules, caps and
// protection left, by both policies; its outcome counts by how much likelier each
// is to have chosen it than the arm was. Sending nothing is worth 0 by definition;
// how often markers of harm show after nothing was sent, the players held out
// tell. So sending nothing needs no support in the log.
type Trier struct {
	spec      *learn.Spec // whose rewards and window count
	candidate *learn.Model
	today     *learn.Model // nil: the best value of actions.yaml

	at   map[string]int // decision → its row
	rows []triedRow
	open map[uint64][]int // by player: rows whose harm may still come
}

// triedRow is a decision of an arm that explores.
type triedRow struct {
	player           uint64
	at               time.Time
	actions          []string
	chosen           int  // of actions; -1: nothing was sent
	held             bool // the player is held out: it only tells what follows nothing
	propensity       float64
	candidate, today []float64 // the chances of the actions
	uncovered        float64   // of the candidate's choices: on actions that could not have been chosen
	kind             string
	rank             int // of the outcome
	harmed           bool
	markers          []string
}

// NewTrier returns a Trier without any decisions.
func NewTrier(candidate, today *learn.Model) *Trier {
	return &Trier{spec: candidate.Spec, candidate: candidate, today: today, at: map[string]int{}, open: map[uint64][]int{}}
}

// Decision takes a stored decision. Those of one player come in order of time.
// names are its features' in order, salt is its policy's.
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
	for _, m := range d.Markers {
		row.markers = append(row.markers, m.ID)
	}
	t.at[r.Input.Decision] = len(t.rows)
	t.open[player] = append(t.open[player], len(t.rows))
	t.rows = append(t.rows, row)
}

// explored reports whether chance had a say in the choice.
func explored(d *Decision) bool {
	if d.Learned != "" {
		return true
	}
	return d.Issued && d.Propensity > 0 && d.Propensity < 1
}

// chances are those with which a policy would choose the options.
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

// harm notes new markers of harm with the decisions about the player before.
func (t *Trier) harm(player uint64, at time.Time, d *Decision) {
	left := t.open[player][:0]
	for _, i := range t.open[player] {
		row := &t.rows[i]
		if at.Sub(row.at) > trialFor {
			continue
		}
		left = append(left, i)
		row.harmed = row.harmed || slices.ContainsFunc(d.Markers, func(m Marker) bool {
			return m.At.After(row.at) && !slices.Contains(row.markers, m.ID)
		})
	}
	if len(left) == 0 {
		delete(t.open, player)
		return
	}
	t.open[player] = left
}

// Outcome takes what became of a decision that came before.
func (t *Trier) Outcome(o *Outcome) {
	i, ok := t.at[o.Decision]
	if !ok || o.At.Sub(t.rows[i].at) > time.Duration(t.spec.Window) {
		return
	}
	t.rows[i].rank = max(t.rows[i].rank, learn.Rank(o.Status))
}

// Versus is a quantity of the candidate and of today's policy.
type Versus struct {
	Name      string    `json:"name"` // reward, harmed, dismissed
	Candidate OffPolicy `json:"candidate"`
	Today     OffPolicy `json:"today"`
	// Difference is candidate − today, doubly robust, with an interval that allows
	// for a player's decisions being alike.
	Difference Estimate `json:"difference"`
}

// Judgement is what the journal says of a candidate.
type Judgement struct {
	Choices   int      `json:"choices"`
	Waiting   int      `json:"waiting"` // choices that don't count yet: their outcomes may still come
	Players   int      `json:"players"`
	Uncovered float64  `json:"uncovered"` // share of its choices that the log could not have made
	Measures  []Versus `json:"measures"`  // the reward, then the guard rails
	// Refused are the reasons for which it may not be promoted; none: it may.
	Refused []string `json:"refused,omitempty"`
}

// Gate is what a candidate must show.
type Gate struct {
	Choices   int     // least number of choices
	Effective float64 // that they must be worth at least
	Uncovered float64 // most
	Margin    float64 // by which a guard rail's upper bound may be above today's: a share
}

// DefaultGate is what `pitboss policy` asks for.
var DefaultGate = Gate{Choices: 500, Effective: 200, Uncovered: 0.02, Margin: 0.01}

// Judge estimates the candidate against today's policy and holds it against the gate.
// It counts the decisions whose outcomes are in at a time (now), all of them: those
// made within the window count neither with what came of them so far, which is too
// little, nor only where something came, which is too much.
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

// refuse says what the gate has against the candidate.
func (j *Judgement) refuse(g Gate) {
	no := func(format string, args ...any) { j.Refused = append(j.Refused, fmt.Sprintf(format, args...)) }
	if j.Choices < g.Choices {
		no("only %d choices by chance whose outcomes are in are in the journal, %d are needed (%d more wait for theirs)", j.Choices, g.Choices, j.Waiting)
		return
	}
	reward := j.Measures[0]
	if reward.Candidate.Effective < g.Effective {
		no("the choices are worth only %.0f of its own, %.0f are needed: it chooses too differently from what was logged", reward.Candidate.Effective, g.Effective)
	}
	if j.Uncovered > g.Uncovered {
		no("%.3f of its choices could not have been made by what was logged, at most %.3f may be", j.Uncovered, g.Uncovered)
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

// nothing is the action that stands for none.
const nothing = ""

// action is what was done.
func (r *triedRow) action() string {
	if r.chosen < 0 {
		return nothing
	}
	return r.actions[r.chosen]
}

// versus estimates a quantity of both policies. The reward model of DR is the mean
// per action in the other half of the players.
func versus(rows []*triedRow, name string, of func(*triedRow) float64) Versus {
	means := [2]map[string]*[2]float64{{}, {}}
	for _, r := range rows {
		m := means[r.player&1]
		if m[r.action()] == nil {
			m[r.action()] = &[2]float64{}
		}
		m[r.action()][0] += of(r)
		m[r.action()][1]++
	}
	var logs [2][]Logged
	var differences []float64
	var players []uint64
	for _, r := range rows {
		if r.held {
			continue
		}
		other := means[1-r.player&1]
		a, b := r.logged(r.candidate, other, of), r.logged(r.today, other, of)
		logs[0], logs[1] = append(logs[0], a), append(logs[1], b)
		differences, players = append(differences, a.robust()-b.robust()), append(players, r.player)
	}
	return Versus{Name: name, Candidate: EvaluateOffPolicy(logs[0]), Today: EvaluateOffPolicy(logs[1]), Difference: clustered(differences, players)}
}

// logged is the row for a policy with these chances.
func (r *triedRow) logged(chances []float64, means map[string]*[2]float64, of func(*triedRow) float64) Logged {
	guess := func(action string) float64 {
		if m := means[action]; m != nil {
			return m[0] / m[1]
		}
		return 0
	}
	none := 1.0
	l := Logged{Reward: of(r), Propensity: r.propensity, Fitted: guess(r.action())}
	for i, p := range chances {
		none -= p
		l.Direct += p * guess(r.actions[i])
	}
	none = max(0, none)
	l.Direct += none * guess(nothing)
	l.Target = none
	if r.chosen >= 0 {
		l.Target = chances[r.chosen]
	}
	return l
}

func (l *Logged) robust() float64 { return l.Direct + l.Target/l.Propensity*(l.Reward-l.Fitted) }

// clustered is the mean of values with the interval of independent players rather
// than values (Liang and Zeger 1986).
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
