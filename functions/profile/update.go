package profile

import (
	"pitboss/internal/event"
	"pitboss/internal/feature"
	"pitboss/internal/player"
)

// update folds one event and prepares the reply's data while nobody else changes the
// state.
type update struct {
	set        *feature.Set
	conditions []string // of score_when, in order
	record     *event.Record
	late       bool
	unknown    bool                // the event rolls back a round that is no longer known
	game, next string              // of a round: the last game before it, and its own; empty: there is none
	data       event.PlayerUpdated // all but Version, which the commit sets
}

// fold is the Fold of player.Op. It may be called again with fresh state.
func (u *update) fold(s *feature.State, dup bool, due uint8) (player.Effects, error) {
	if dup {
		if due != 0 {
			u.reply(s, u.set.Vector(nil, s, s.AsOf()), dueNames(u.conditions, due))
		}
		return player.Effects{}, nil
	}
	u.game, u.next = "", ""
	if round, ok := u.record.Data.(*event.RoundSettled); ok {
		var room [event.RecentGamesKept]string
		if recent := s.RecentGames(room[:0]); len(recent) > 0 {
			u.game, u.next = recent[0], round.Game
		}
	}
	out, err := u.set.Fold(s, u.record)
	if err != nil {
		return player.Effects{}, err
	}
	u.late, u.unknown = out.Late, out.Unknown
	if len(out.Due) > 0 {
		u.reply(s, out.Vector, out.Due)
	}
	return player.Effects{Due: dueByte(u.conditions, out.Due), Reminders: out.Reminders}, nil
}

// result names the event's result for the metrics.
func (u *update) result(res player.Result) string {
	switch {
	case res.Duplicate:
		return "duplicate"
	case res.Erased:
		return "erased"
	case u.late:
		return resultLate
	case u.unknown:
		return resultUnknown
	}
	return resultApplied
}

func (u *update) reply(s *feature.State, vector []float64, due []string) {
	u.data = event.PlayerUpdated{
		AsOf:       s.AsOf(),
		Trigger:    event.Trigger{Type: u.record.Type, Source: u.record.Source, ID: u.record.ID, Time: u.record.Time},
		Due:        due,
		Features:   u.set.AppendJSON(nil, vector),
		FeatureSet: u.set.Hash(),
		Facts:      u.set.Facts(s),
	}
}
