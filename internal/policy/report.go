package policy

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"time"

	"github.com/go-json-experiment/json"
)

// Row is a decision with what became of it. Player is a pseudonym.
type Row struct {
	Player   string
	At       time.Time
	Decision *Decision
	Outcomes []string
}

// Rows gathers rows from the journal's entries, in any order.
type Rows struct {
	list     []Row
	at       map[string]int      // decision → its row
	outcomes map[string][]string // by decision
}

// NewRows returns Rows without any.
func NewRows() *Rows { return &Rows{at: map[string]int{}, outcomes: map[string][]string{}} }

// Decision adds a decision by the open part of its entry; player is a pseudonym.
func (r *Rows) Decision(player string, open []byte) error {
	rec, err := Join(open, nil)
	if err != nil {
		return err
	}
	r.at[rec.Input.Decision] = len(r.list)
	r.list = append(r.list, Row{Player: player, At: rec.Input.Now, Decision: &rec.Decision})
	return nil
}

// Outcome adds what became of a decision.
func (r *Rows) Outcome(open []byte) error {
	var out Outcome
	if err := json.Unmarshal(open, &out); err != nil {
		return fmt.Errorf("decide: outcome: %w", err)
	}
	r.outcomes[out.Decision] = append(r.outcomes[out.Decision], out.Status)
	return nil
}

// All joins decisions and outcomes.
func (r *Rows) All() []Row {
	for id, list := range r.outcomes {
		if n, ok := r.at[id]; ok {
			r.list[n].Outcomes = list
		}
	}
	return r.list
}

// The window in which a player who is seen again has stayed: nearer is the
// same play still going on, and the models' horizon is 10 minutes.
const (
	stayedAfter  = 10 * time.Minute
	stayedBefore = 24 * time.Hour
)

// ReportLine is what is known of one action in one arm, measured by what its
// kind is for: protection by what protects, service by the task done, marketing
// by players who stay. Protection is never held against the holdout.
type ReportLine struct {
	Action    string `json:"action"`
	Kind      string `json:"kind"`
	Arm       string `json:"arm"`
	Issued    int    `json:"issued"`
	Delivered int    `json:"delivered"`
	Accepted  int    `json:"accepted"`
	Dismissed int    `json:"dismissed"`
	// Stayed is the share of players who were seen again between 10 minutes and
	// 24 hours after their first such decision; Holdout, that of players who
	// would have got the action and were held out.
	Players        int      `json:"players"`
	HoldoutPlayers int      `json:"holdout_players"`
	Stayed         Estimate `json:"stayed"`
	Holdout        Estimate `json:"holdout"`
	Uplift         Estimate `json:"uplift"` // means nothing where either group has nobody
	// Done is the share of players who took the (first) message up.
	Done Estimate `json:"done"`
	// Paused is, of protection, the share of players of whom nothing was decided
	// for half an hour after the message; Cleared, of those whom markers of
	// harm led to it and who were seen an hour to a week later, the share who
	// showed none then.
	Paused  Estimate `json:"paused"`
	Marked  int      `json:"marked"`
	Cleared Estimate `json:"cleared"`
	// Detectable is the smallest uplift that so many players show in four cases
	// of five; Needed is how many more players both groups need, each, to show 0.05.
	Detectable float64 `json:"detectable"`
	Needed     int     `json:"needed"`
}

// Report joins decisions and outcomes per action and arm, against the holdout.
type Report struct {
	Decisions int          `json:"decisions"`
	Issued    int          `json:"issued"`
	Lines     []ReportLine `json:"lines"`
	// HeldOut of Players are in the holdout. Mismatch: that is so far from the
	// share that was meant that the comparison is not to be trusted.
	Players  int  `json:"players"`
	HeldOut  int  `json:"held_out"`
	Mismatch bool `json:"mismatch"`
}

type cell struct{ action, arm string }

// tally counts the first decision of each player in a cell.
type tally struct {
	line    ReportLine
	seen    map[string]bool
	n, hits int

	done, paused, marked, cleared int
}

// MakeReport reads rows in any order. holdout is the share of players that is
// meant to be held out.
func MakeReport(rows []Row, holdout float64) Report {
	rows = append([]Row(nil), rows...)
	sort.SliceStable(rows, func(a, b int) bool { return rows[a].At.Before(rows[b].At) })
	after := aftermaths(rows)
	rep := Report{Decisions: len(rows), Lines: []ReportLine{}}
	rep.countHoldout(rows, holdout)
	tallies := map[cell]*tally{}
	for i := range rows {
		d := rows[i].Decision
		if !d.Issued && !d.Holdout || d.Action == NoAction || d.Holdout && d.Propensity == 0 {
			continue
		}
		c := cell{d.Action, d.Arm}
		if d.Kind == Protection {
			c.arm = "" // there are no arms of protection
		}
		t := tallies[c]
		if t == nil {
			t = &tally{line: ReportLine{Action: c.action, Arm: c.arm, Kind: d.Kind}, seen: map[string]bool{}}
			tallies[c] = t
		}
		if d.Issued {
			rep.Issued++
			t.count(rows[i].Outcomes)
		}
		if !t.seen[rows[i].Player] {
			t.seen[rows[i].Player] = true
			t.first(&rows[i], &after[i])
		}
	}
	for c, t := range tallies {
		if c.arm == HoldoutArm {
			continue
		}
		rep.Lines = append(rep.Lines, t.report(tallies[cell{c.action, HoldoutArm}]))
	}
	sort.Slice(rep.Lines, func(a, b int) bool {
		x, y := rep.Lines[a], rep.Lines[b]
		return x.Action < y.Action || x.Action == y.Action && x.Arm < y.Arm
	})
	return rep
}

// first counts a player's first decision in a cell.
func (t *tally) first(r *Row, after *aftermath) {
	count := func(n *int, yes bool) {
		if yes {
			*n++
		}
	}
	t.n++
	count(&t.hits, after.stayed)
	count(&t.done, slices.Contains(r.Outcomes, "accepted"))
	count(&t.paused, after.paused)
	if len(r.Decision.Markers) > 0 && after.later != nil {
		t.marked++
		count(&t.cleared, len(after.later.Markers) == 0)
	}
}

// report is the cell's line, against the holdout's cell where its kind may be.
func (t *tally) report(h *tally) ReportLine {
	l := t.line
	l.Players, l.Done = t.n, Proportion(t.done, t.n)
	if l.Kind == Protection {
		l.Paused, l.Marked, l.Cleared = Proportion(t.paused, t.n), t.marked, Proportion(t.cleared, t.marked)
		return l
	}
	if h == nil {
		h = &tally{}
	}
	l.Stayed = Proportion(t.hits, t.n)
	l.HoldoutPlayers, l.Holdout = h.n, Proportion(h.hits, h.n)
	l.Uplift = Difference(l.Stayed, l.Holdout)
	l.Detectable, l.Needed = power(t.hits+h.hits, t.n, h.n)
	return l
}

// The difference that is asked of the data, and the normal quantiles of a
// two-sided test at 5 % with a power of 80 %.
const (
	wanted  = 0.05
	quantum = z95 + 0.8416212335729143
)

// power tells what difference two groups of a and b players can show, hits of
// them all having stayed, and how many more each needs to show the one wanted.
func power(hits, a, b int) (detectable float64, needed int) {
	p := 0.5 // the least favourable, where nothing is known
	if a+b > 0 && hits > 0 && hits < a+b {
		p = float64(hits) / float64(a+b)
	}
	spread := p * (1 - p)
	needed = max(0, int(math.Ceil(2*quantum*quantum*spread/(wanted*wanted)))-min(a, b))
	if a == 0 || b == 0 {
		return 1, needed
	}
	return math.Min(1, quantum*math.Sqrt(spread*(1/float64(a)+1/float64(b)))), needed
}

// countHoldout counts players and tells a sample-ratio mismatch: a share of the
// holdout that chance would give once in a thousand cases (Fabijan 2019).
func (rep *Report) countHoldout(rows []Row, share float64) {
	held := map[string]bool{}
	for i := range rows {
		held[rows[i].Player] = rows[i].Decision.Holdout || rows[i].Decision.Arm == HoldoutArm
	}
	for _, yes := range held {
		if yes {
			rep.HeldOut++
		}
	}
	rep.Players = len(held)
	n := float64(rep.Players)
	if n*share >= 5 { // below, the normal approximation says nothing
		rep.Mismatch = math.Abs(float64(rep.HeldOut)-n*share) > 3.29*math.Sqrt(n*share*(1-share))
	}
}

func (t *tally) count(outcomes []string) {
	t.line.Issued++
	got := map[string]bool{}
	for _, o := range outcomes {
		got[o] = true
	}
	if got["delivered"] || got["accepted"] || got["dismissed"] {
		t.line.Delivered++
	}
	if got["accepted"] {
		t.line.Accepted++
	}
	if got["dismissed"] {
		t.line.Dismissed++
	}
}

// aftermath is what became of a player after a row.
type aftermath struct {
	stayed bool      // seen again in the window
	paused bool      // nothing was decided for a while
	later  *Decision // the last one from an hour to a week later
}

// How long a pause is, and when a player's markers are looked at again.
const (
	pauseFor    = 30 * time.Minute
	laterAfter  = time.Hour
	laterBefore = 7 * 24 * time.Hour
)

// aftermaths looks at what followed each row; rows are in order of time.
func aftermaths(rows []Row) []aftermath {
	out := make([]aftermath, len(rows))
	of := map[string][]int{}
	for i := range rows {
		of[rows[i].Player] = append(of[rows[i].Player], i)
	}
	end := time.Time{}
	if len(rows) > 0 {
		end = rows[len(rows)-1].At
	}
	for _, mine := range of {
		for n, i := range mine {
			out[i] = follow(rows, i, mine[n+1:], end)
		}
	}
	return out
}

func follow(rows []Row, i int, next []int, end time.Time) (a aftermath) {
	at := rows[i].At
	gap := end.Sub(at) // the journal ends there: a pause is not yet one before
	if len(next) > 0 {
		gap = rows[next[0]].At.Sub(at)
	}
	a.paused = gap >= pauseFor
	for _, j := range next {
		gap := rows[j].At.Sub(at)
		if gap > laterBefore {
			return a
		}
		a.stayed = a.stayed || gap > stayedAfter && gap <= stayedBefore
		if gap >= laterAfter {
			a.later = rows[j].Decision
		}
	}
	return a
}

// OffPolicyOf evaluates the policy "softmax with this temperature" on the rows
// of arms that explore, with acceptance as reward. The reward model of DR is
// the mean per action in the other half of the players.
func OffPolicyOf(rows []Row, temperature float64) OffPolicy {
	var means [2]map[string]*[2]float64 // by half: action → rewards, count
	means[0], means[1] = map[string]*[2]float64{}, map[string]*[2]float64{}
	half := func(r *Row) int { return int(DecisionKey(r.Player) & 1) }
	reward := func(r *Row) float64 {
		for _, o := range r.Outcomes {
			if o == "accepted" {
				return 1
			}
		}
		return 0
	}
	var chosen []*Row
	for i := range rows {
		d := rows[i].Decision
		if !d.Issued || d.Kind == Protection || d.Propensity <= 0 || d.Propensity >= 1 {
			continue
		}
		r := &rows[i]
		chosen = append(chosen, r)
		m := means[half(r)]
		if m[d.Action] == nil {
			m[d.Action] = &[2]float64{}
		}
		m[d.Action][0] += reward(r)
		m[d.Action][1]++
	}
	log := make([]Logged, 0, len(chosen))
	for _, r := range chosen {
		other := means[1-half(r)]
		guess := func(action string) float64 {
			if m := other[action]; m != nil {
				return m[0] / m[1]
			}
			return 0
		}
		l := Logged{Reward: reward(r), Propensity: r.Decision.Propensity, Fitted: guess(r.Decision.Action)}
		for i, p := range Softmax(r.Decision.Candidates, temperature) {
			l.Direct += p * guess(r.Decision.Candidates[i].Action)
			if r.Decision.Candidates[i].Action == r.Decision.Action {
				l.Target = p
			}
		}
		log = append(log, l)
	}
	return EvaluateOffPolicy(log)
}
