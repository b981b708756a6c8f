package policy

import (
	"fmt"
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

// ReportLine is what is known of one action in one arm.
type ReportLine struct {
	Action    string `json:"action"`
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
}

// Report joins decisions and outcomes per action and arm, against the holdout.
type Report struct {
	Decisions int          `json:"decisions"`
	Issued    int          `json:"issued"`
	Lines     []ReportLine `json:"lines"`
}

type cell struct{ action, arm string }

// tally counts the first decision of each player in a cell.
type tally struct {
	line    ReportLine
	seen    map[string]bool
	n, hits int
}

// MakeReport reads rows in any order.
func MakeReport(rows []Row) Report {
	rows = append([]Row(nil), rows...)
	sort.SliceStable(rows, func(a, b int) bool { return rows[a].At.Before(rows[b].At) })
	stayed := stayers(rows)
	rep := Report{Decisions: len(rows), Lines: []ReportLine{}}
	tallies := map[cell]*tally{}
	for i := range rows {
		d := rows[i].Decision
		if !d.Issued && !d.Holdout || d.Action == NoAction || d.Holdout && d.Propensity == 0 {
			continue
		}
		c := cell{d.Action, d.Arm}
		t := tallies[c]
		if t == nil {
			t = &tally{line: ReportLine{Action: c.action, Arm: c.arm}, seen: map[string]bool{}}
			tallies[c] = t
		}
		if d.Issued {
			rep.Issued++
			t.count(rows[i].Outcomes)
		}
		if !t.seen[rows[i].Player] {
			t.seen[rows[i].Player] = true
			t.n++
			if stayed[i] {
				t.hits++
			}
		}
	}
	for c, t := range tallies {
		if c.arm == HoldoutArm {
			continue
		}
		l := t.line
		l.Players, l.Stayed = t.n, Proportion(t.hits, t.n)
		h := tallies[cell{c.action, HoldoutArm}]
		if h == nil {
			h = &tally{}
		}
		l.HoldoutPlayers, l.Holdout = h.n, Proportion(h.hits, h.n)
		l.Uplift = Difference(l.Stayed, l.Holdout)
		rep.Lines = append(rep.Lines, l)
	}
	sort.Slice(rep.Lines, func(a, b int) bool {
		x, y := rep.Lines[a], rep.Lines[b]
		return x.Action < y.Action || x.Action == y.Action && x.Arm < y.Arm
	})
	return rep
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

// stayers tells for each row whether its player was seen again in the window.
func stayers(rows []Row) []bool {
	out := make([]bool, len(rows))
	next := map[string][]int{} // rows of a player that wait to be seen again
	for i := range rows {
		p := rows[i].Player
		waiting := next[p][:0]
		for _, j := range next[p] {
			switch gap := rows[i].At.Sub(rows[j].At); {
			case gap > stayedBefore:
			case gap > stayedAfter:
				out[j] = true
			default:
				waiting = append(waiting, j)
			}
		}
		next[p] = append(waiting, i)
	}
	return out
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
