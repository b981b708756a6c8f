package decide

import (
	"fmt"
	"reflect"
	"time"

	"pitboss/internal/event"
	"pitboss/internal/feature"
	"pitboss/internal/journal"
	"pitboss/internal/player"
)

// current is a player's current state as decisions read it. Those of one batch
// share it.
type current struct {
	state    *feature.State
	facts    event.Facts
	features []float64 // as of asOf; nil: not asked for yet
	asOf     time.Time
}

func (f *Function) current(s *journal.State) (*current, error) {
	if c, ok := s.Decoded.(*current); ok {
		return c, nil
	}
	st, err := f.set.Decode(s.Bytes)
	if err != nil {
		return nil, fmt.Errorf("decide: state: %w", err)
	}
	c := &current{state: st, facts: f.set.Facts(st)}
	s.Decoded = c
	return c, nil
}

// refresh takes over the player's current state: the one the event carries has
// changed since. The scores stay those of the event.
func (t *request) refresh(s *journal.State) error {
	if s.Version == (player.Version{}) {
		t.gone = true
		return nil
	}
	c, err := t.f.current(s)
	if err != nil {
		return err
	}
	t.in.StateVersion, t.in.Refreshed = s.Version.String(), true
	t.in.Facts = c.facts
	t.in.AsOf = later(t.in.AsOf, c.state.AsOf())
	if c.features == nil || !c.asOf.Equal(t.in.AsOf) {
		c.features, c.asOf = t.f.set.Vector(nil, c.state, t.in.AsOf), t.in.AsOf
	}
	t.in.Features = c.features
	t.in.FeatureSet, t.in.Missing = t.f.set.Hash(), nil
	return nil
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// sameFacts reports whether what was decided on one state may be recorded
// although the player played on meanwhile. Everything that law rests on and
// that is not measured must be as it was: exclusions, consents, limits,
// indicators of harm, the account. Features and the games played last may be
// those of a moment ago: the decision is then as if the player's next event had
// come a moment later, which nobody could have ruled out.
func (f *Function) sameFacts(was, is *journal.State) bool {
	if was.Version == (player.Version{}) || is.Version == (player.Version{}) {
		return false
	}
	a, err := f.current(was)
	if err != nil {
		return false
	}
	b, err := f.current(is)
	return err == nil && reflect.DeepEqual(lawful(a.facts), lawful(b.facts))
}

// lawful are the facts without what every round changes.
func lawful(f event.Facts) event.Facts {
	f.LastGame, f.FailedGame, f.RecentGames = "", "", nil
	return f
}
