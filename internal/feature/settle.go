package feature

import (
	"fmt"
	"slices"
	"time"

	"pitboss/internal/event"
)

// Serving does not have a file of events to look ahead in, as training has. It
// settles a label some time after the decision point by what the player's state
// remembers of the rounds since: the timeline has those of at least the lateness
// and the rollback window before the player's latest event.

// settleGrace is how long after a label's end events that belong before it are
// waited for. Those that come later still are not in the label.
const settleGrace = time.Minute

// Settles says how long after a decision point at the earliest, and before how
// long at the latest, serving can settle the label; an error says why it can't.
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
		err = fmt.Errorf("within must be at least %v below lateness and rollback together (%v), which is how long rounds are remembered", 3*settleGrace, kept)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("feature: label %s: %w", l.Name, err)
	}
	return l.Ahead() + settleGrace, kept - settleGrace, nil
}

// Settle is the label of a decision point, by the player's state now; known is
// false where the state does not go back so far: it had so many events since that
// some are only in its sums. When to ask, [Set.Settles] says. A round of the same
// millisecond as the decision point counts as before it.
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
