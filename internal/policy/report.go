package policy

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"
)

// Report measures the effect of each action by the purpose of its kind: protection by
// what the player did to play less, service and marketing by their goals. Each player
// counts once per line, by the first such decision. Protection is not compared with
// the holdout: nobody may go without it for the sake of measuring.
type Report struct {
	Decisions int          `json:"decisions"`
	Issued    int          `json:"issued"`
	Lines     []ReportLine `json:"lines"`
	// HeldOut of Players are in the holdout; Meant is the share that should be.
	// Mismatch says that chance alone would give a share that differs this much only
	// once in a thousand times, so that comparisons can't be trusted.
	Players  int     `json:"players"`
	HeldOut  int     `json:"held_out"`
	Meant    float64 `json:"meant"`
	Mismatch bool    `json:"mismatch"`
}

// ReportLine is what is known of one action in one arm.
type ReportLine struct {
	Action    string `json:"action"`
	Kind      string `json:"kind"`
	Arm       string `json:"arm,omitzero"` // there are no arms of protection
	Issued    int    `json:"issued"`
	Delivered int    `json:"delivered"`
	Accepted  int    `json:"accepted"`
	Dismissed int    `json:"dismissed"`
	Players   int    `json:"players"`
	// Taken is the share of players who accepted the message, as teams report it.
	Taken Share `json:"taken"`

	// Goal is the goal of a service or marketing action, in words. Reached is the share
	// of players who reached it, among those whose time for it is over. Holdout is the
	// same share among players who would have got the action and were held out.
	Goal    string `json:"goal,omitzero"`
	Reached Share  `json:"reached,omitzero"`
	Holdout Share  `json:"holdout,omitzero"`
	Uplift  Share  `json:"uplift,omitzero"`

	Protected *Protected `json:"protected,omitempty"`

	// Detectable is the smallest difference that this many players show with a power of
	// 80 %. Needed is how many more players each group needs to show a difference of
	// 0.05. For protection it is the difference of Protected.StakedLess from one half.
	Detectable float64 `json:"detectable"`
	Needed     int     `json:"needed"`
}

// Protected is what followed a protection message. All but Paused and Cleared are about
// the day after it, among players whose day is over. There is no control group: players
// who are warned at a peak would play less afterwards without a message too.
type Protected struct {
	LimitSet Share `json:"limit_set"` // set a limit, or lowered one
	Break    Share `json:"break"`     // took a break, or excluded themselves
	Paused   Share `json:"paused"`    // had no decision for half an hour
	// Among those who staked (deposited) in the day before: the share who staked less
	// in the day after, and the median relative change; −1 means that they stopped.
	StakedLess    Share `json:"staked_less"`
	StakeChange   Share `json:"stake_change"`
	DepositedLess Share `json:"deposited_less"`
	DepositChange Share `json:"deposit_change"`
	// Cleared is the share without a marker of harm an hour to a week later, among
	// players who had markers at the message and were seen in that time.
	Cleared Share `json:"cleared"`
}

// Share is a figure about Of players. It has no estimate if they are too few.
type Share struct {
	Of       int       `json:"of"`
	Estimate *Estimate `json:"estimate,omitempty"`
}

// fewPlayers is how many players a figure needs. With fewer, the interval says nothing.
const fewPlayers = 10

func (e Estimate) of(n int) Share {
	if n < fewPlayers {
		return Share{Of: n}
	}
	return Share{n, &e}
}

// tally counts n players and the hits among them.
type tally struct{ n, hits int }

func (t *tally) count(hit bool) {
	t.n++
	if hit {
		t.hits++
	}
}

func (t *tally) share() Share { return Proportion(t.hits, t.n).of(t.n) }

type cell struct{ action, arm string }

// group is the players of a cell.
type group struct {
	line                            ReportLine
	goal                            *Goal
	taken, reached                  tally
	limited, broke, paused, cleared tally
	stakes, deposits                []float64 // changes of those who had any
}

// Report reports the rows, in any order.
func (r *Rows) Report() Report {
	rows := r.All()
	e := r.policy.Experiment()
	rep := Report{Decisions: len(rows), Lines: []ReportLine{}, Meant: e.Holdout}
	of, end := map[string][]*Row{}, time.Time{}
	for i := range rows {
		of[rows[i].Player] = append(of[rows[i].Player], &rows[i])
		if rows[i].At.After(end) {
			end = rows[i].At
		}
	}
	groups := map[cell]*group{}
	for _, mine := range of {
		slices.SortStableFunc(mine, func(a, b *Row) int { return a.At.Compare(b.At) })
		rep.Issued += r.player(groups, mine, end)
		if last := &mine[len(mine)-1].Choice; last.Holdout || last.Arm == HoldoutArm {
			rep.HeldOut++
		}
	}
	rep.Players = len(of)
	rep.Mismatch = mismatch(rep.HeldOut, rep.Players, e.Holdout)
	for c, g := range groups {
		if c.arm != HoldoutArm {
			rep.Lines = append(rep.Lines, g.report(groups[cell{c.action, HoldoutArm}]))
		}
	}
	slices.SortFunc(rep.Lines, func(a, b ReportLine) int {
		return cmp.Or(strings.Compare(a.Action, b.Action), strings.Compare(a.Arm, b.Arm))
	})
	return rep
}

// player counts one player's rows, which are in order of time.
func (r *Rows) player(groups map[cell]*group, mine []*Row, end time.Time) (issued int) {
	seen := map[cell]bool{}
	for n, row := range mine {
		d := &row.Choice
		if !d.Issued && !d.Holdout || d.Action == NoAction || d.Holdout && d.Propensity == 0 {
			continue
		}
		c := cell{d.Action, d.Arm}
		if d.Kind == Protection {
			c.arm = ""
		}
		g := groups[c]
		if g == nil {
			g = &group{goal: r.policy.action(d.Action).Goal, line: ReportLine{Action: c.action, Arm: c.arm, Kind: d.Kind}}
			groups[c] = g
		}
		if d.Issued {
			issued++
			g.sent(row.Outcomes)
		}
		if !seen[c] {
			seen[c] = true
			a := r.follow(row, mine[n+1:], g.goal, end)
			g.first(row, &a)
		}
	}
	return issued
}

func (g *group) sent(outcomes []string) {
	g.line.Issued++
	has := func(status string) bool { return slices.Contains(outcomes, status) }
	if has("delivered") || has("accepted") || has("dismissed") {
		g.line.Delivered++
	}
	if has("accepted") {
		g.line.Accepted++
	}
	if has("dismissed") {
		g.line.Dismissed++
	}
}

// first counts a player by their first decision of the group.
func (g *group) first(row *Row, a *aftermath) {
	g.line.Players++
	g.taken.count(slices.Contains(row.Outcomes, "accepted"))
	if g.line.Kind != Protection {
		switch {
		case g.goal != nil && row.Known != nil && a.over >= time.Duration(g.goal.Within):
			g.reached.count(a.reached)
		case g.goal == nil && a.over >= stayedBefore:
			g.reached.count(a.stayed)
		}
		return
	}
	if a.over >= pauseFor {
		g.paused.count(a.paused)
	}
	if row.Choice.Marked && a.later != nil {
		g.cleared.count(!a.later.Marked)
	}
	if row.Known == nil || a.over < dayAfter {
		return
	}
	g.limited.count(a.limited)
	g.broke.count(a.broke)
	change := func(list *[]float64, before, after float64) {
		if before > 0 {
			*list = append(*list, max(after, 0)/before-1)
		}
	}
	change(&g.stakes, row.Known.values[stakedDay], a.staked)
	change(&g.deposits, row.Known.values[depositedDay], a.deposited)
}

// report returns the group's line. Unless it is protection, it is compared with h, the
// holdout's group; h may be nil.
func (g *group) report(h *group) ReportLine {
	l := g.line
	l.Taken = g.taken.share()
	if l.Kind == Protection {
		stakes, deposits := less(g.stakes), less(g.deposits)
		l.Protected = &Protected{LimitSet: g.limited.share(), Break: g.broke.share(), Paused: g.paused.share(), Cleared: g.cleared.share(),
			StakedLess: stakes.share(), StakeChange: median(g.stakes).of(stakes.n), DepositedLess: deposits.share(), DepositChange: median(g.deposits).of(deposits.n)}
		l.Detectable, l.Needed = powerOfOne(stakes.n)
		return l
	}
	if h == nil {
		h = &group{}
	}
	l.Goal = g.goal.words()
	l.Reached, l.Holdout = g.reached.share(), h.reached.share()
	if n := min(g.reached.n, h.reached.n); n > 0 {
		l.Uplift = Difference(Proportion(g.reached.hits, g.reached.n), Proportion(h.reached.hits, h.reached.n)).of(n)
	}
	l.Detectable, l.Needed = power(g.reached.hits+h.reached.hits, g.reached.n, h.reached.n)
	return l
}

// less tallies the changes that are decreases.
func less(changes []float64) (t tally) {
	for _, c := range changes {
		t.count(c < 0)
	}
	return t
}

// words describes a goal.
func (g *Goal) words() string {
	if g == nil {
		return "seen again between 10 minutes and 24 hours later"
	}
	within := strings.Replace(strings.Replace(time.Duration(g.Within).String(), "m0s", "m", 1), "h0m", "h", 1) // 30m, 24h
	return strings.TrimSuffix(strings.TrimPrefix(g.Since, "since_"), "_s") + " within " + within
}

// mismatch reports a sample-ratio mismatch (Fabijan and others 2019).
func mismatch(heldOut, players int, share float64) bool {
	n := float64(players)
	if n*share < 5 { // too few for the normal approximation
		return false
	}
	return math.Abs(float64(heldOut)-n*share) > 3.29*math.Sqrt(n*share*(1-share))
}
