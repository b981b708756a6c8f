package policy

import (
	"time"
)

// The window in which a player who is seen again has stayed: nearer is the
// same play still going on, and the models' horizon is 10 minutes.
const (
	stayedAfter  = 10 * time.Minute
	stayedBefore = 24 * time.Hour
)

// How long a pause is, what is compared before and after a protection message,
// and when a player's markers are looked at again.
const (
	pauseFor    = 30 * time.Minute
	dayAfter    = 24 * time.Hour
	laterAfter  = time.Hour
	laterBefore = 7 * 24 * time.Hour
)

// aftermath is what became of a player after a row.
type aftermath struct {
	over    time.Duration // how much of the journal there is after the row
	stayed  bool          // seen again in the window
	paused  bool          // nothing was decided for a while
	later   *Choice       // the last one from an hour to a week later
	reached bool          // the action's goal

	// Of the day after, where it can be told: a limit was set or lowered, a break
	// was taken, and what was staked and deposited by the last decision of it.
	limited, broke    bool
	staked, deposited float64
}

// follow looks at what followed row i of a player; next are the player's later
// rows, in order of time, and end is where the journal ends.
func (r *Rows) follow(i *Row, next []*Row, goal *Goal, end time.Time) (a aftermath) {
	a.over = end.Sub(i.At)
	gap := a.over // a pause is not yet one where the journal ends before
	if len(next) > 0 {
		gap = next[0].At.Sub(i.At)
	}
	a.paused = gap >= pauseFor
	for _, row := range next {
		gap := row.At.Sub(i.At)
		if gap > laterBefore {
			break
		}
		a.stayed = a.stayed || gap > stayedAfter && gap <= stayedBefore
		if gap >= laterAfter {
			a.later = &row.Choice
		}
		if row.Known != nil {
			a.reached = a.reached || goal != nil && r.reached(i, row.Known, goal)
			if i.Known != nil && gap <= dayAfter {
				a.day(i, row.Known)
			}
		}
	}
	return a
}

// reached reports whether what the goal asks for happened after the row and in time.
func (r *Rows) reached(i *Row, k *Known, goal *Goal) bool {
	for n, name := range r.names {
		if name == goal.Since {
			at := k.AsOf.Add(-time.Duration(k.values[n] * float64(time.Second)))
			return at.After(i.At) && !at.After(i.At.Add(time.Duration(goal.Within)))
		}
	}
	return false
}

// day takes a look at the player within the day after a row.
func (a *aftermath) day(i *Row, k *Known) {
	for name, limit := range k.Limits {
		was, had := i.Known.Limits[name]
		a.limited = a.limited || !had || limit.Amount < was.Amount
	}
	for _, x := range k.Exclusions {
		a.broke = a.broke || x.Since.After(i.At)
	}
	a.staked = k.values[stakedEver] - i.Known.values[stakedEver]
	a.deposited = k.values[depositedEver] - i.Known.values[depositedEver]
}
