package policy

import (
	"time"
)

// A player who is seen again within this window has stayed. An earlier sighting
// may belong to the same play: the models' horizon is 10 minutes.
const (
	stayedAfter  = 10 * time.Minute
	stayedBefore = 24 * time.Hour
)

const (
	pauseFor = 30 * time.Minute // the shortest gap between decisions that is a pause
	dayAfter = 24 * time.Hour   // how long after a protection message play is compared

	// A player's markers are looked at again within this window after the message.
	laterAfter  = time.Hour
	laterBefore = 7 * 24 * time.Hour
)

// aftermath is what became of a player after a row.
type aftermath struct {
	over    time.Duration // how far the journal goes on after the row
	stayed  bool          // the player was seen again between stayedAfter and stayedBefore
	paused  bool          // no decision was made for pauseFor
	later   *Choice       // the last choice from an hour to a week later
	reached bool          // the player reached the action's goal

	// What happened on the day after, where the rows tell it: the player set or
	// lowered a limit or took a break, and staked and deposited this much.
	limited, broke    bool
	staked, deposited float64
}

// follow finds out what followed row i of a player. next holds the player's later
// rows in order of time, and end is the time at which the journal ends.
func (r *Rows) follow(i *Row, next []*Row, goal *Goal, end time.Time) (a aftermath) {
	a.over = end.Sub(i.At)
	gap := a.over // without a later row, the pause lasts at least as long as the journal
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

// reached reports whether the event that the goal asks for happened after the row and in time.
func (r *Rows) reached(i *Row, k *Known, goal *Goal) bool {
	for n, name := range r.names {
		if name == goal.Since {
			at := k.AsOf.Add(-time.Duration(k.values[n] * float64(time.Second)))
			return at.After(i.At) && !at.After(i.At.Add(time.Duration(goal.Within)))
		}
	}
	return false
}

// day compares the player as known within a day after a row with the row.
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
