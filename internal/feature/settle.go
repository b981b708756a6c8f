package feature

import (
	"fmt"
	"slices"
	"time"

	"pitboss/internal/event"
)

// Training can look ahead in a file of events; serving can't. It settles a label some
// time after the decision point, by the rounds that the player's state remembers: the
// timeline goes back at least the lateness and the rollback window from the player's
// latest event.

// settleGrace is how long after a label's end to wait for late events. Events that
// arrive even later are not counted.
const settleGrace = time.Minute

// Settles returns the earliest and the latest time after a decision point at which
// serving can settle the label. The error says why the label can't be settled.
func (s *Set) Settles(l *Label) (from, until time.Duration, err error) {
	kept := time.Duration(s.lateness+s.rollback) * time.Millisecond
	_, rounds := l.draws[event.TypeRoundSettled]
	switch {
	case !rounds || len(l.draws) > 1 || l.Where != "":
		err = fmt.Errorf("serving settles labels on round.settled alone, without where")
	case l.Agg != LabelNone && l.Agg != LabelAny:
		err = fmt.Errorf("serving settles labels of agg none and any, not %s", l.Agg)
	case s.recorded == 0:
		err = fmt.Errorf("serving settles labels by the rounds it could roll back: features.yaml declares no rollback")
	case l.Ahead()+3*settleGrace > kept:
		err = fmt.Errorf("within must be at least %v less than lateness and rollback together (%v), because rounds are remembered no longer", 3*settleGrace, kept)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("feature: label %s: %w", l.Name, err)
	}
	return l.Ahead() + settleGrace, kept - settleGrace, nil
}

// Settle returns the label of a decision point by the player's current state, which
// must be read at the time that [Set.Settles] gives. known is false if the timeline does
// not reach back far enough, because the player had too many events since. A round of
// the same millisecond as the decision point counts as before it.
func (st *State) Settle(l *Label, point time.Time) (v float64, known bool) {
	from := point.UnixMilli()
	to := from + l.Ahead().Milliseconds()
	came := slices.ContainsFunc(st.rows, func(r row) bool {
		return r.mask&st.set.recorded != 0 && r.pos.ms > from && r.pos.ms <= to
	})
	if !came && st.floor != (position{}) && st.floor.ms > from {
		return 0, false
	}
	if came == (l.Agg == LabelAny) {
		v = 1
	}
	return v, true
}
