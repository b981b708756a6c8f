package decide

import (
	"fmt"
	"reflect"
	"sync"
	"time"

	"pitboss/internal/event"
	"pitboss/internal/feature"
	"pitboss/internal/journal"
	"pitboss/internal/player"
)

// current is a player's current state as decisions read it. Those of one batch
// share it.
type current struct {
	facts    event.Facts
	latest   time.Time // the latest event in the state
	features []float64 // as of asOf
	asOf     time.Time
}

// states are decoded states that were read, whose memory the next may have.
var states = sync.Pool{New: func() any { return (*feature.State)(nil) }}

// facts reads the state without its features.
func (f *Function) facts(s *journal.State) (event.Facts, error) {
	if c, ok := s.Decoded.(*current); ok {
		return c.facts, nil
	}
	c, err := f.current(s, time.Time{})
	if err != nil {
		return event.Facts{}, err
	}
	return c.facts, nil
}

// current reads the state, with its features as of asOf or of the latest event in
// it, whichever is later.
func (f *Function) current(s *journal.State, asOf time.Time) (*current, error) {
	c, ok := s.Decoded.(*current)
	if ok && c.asOf.Equal(later(asOf, c.latest)) {
		return c, nil
	}
	st, err := f.set.Reuse(states.Get().(*feature.State), s.Bytes)
	if err != nil {
		return nil, fmt.Errorf("decide: state: %w", err)
	}
	defer states.Put(st)
	if !ok {
		c = &current{facts: f.set.Facts(st), latest: st.AsOf()}
		s.Decoded = c
	}
	c.asOf = later(asOf, c.latest)
	c.features = f.set.Vector(nil, st, c.asOf)
	return c, nil
}

// refresh takes over the player's current state: the one the event carries has
// changed since. The scores stay those of the event.
func (t *request) refresh(s *journal.State) error {
	if s.Version == (player.Version{}) {
		t.gone = true
		return nil
	}
	c, err := t.f.current(s, t.in.AsOf)
	if err != nil {
		return err
	}
	t.in.StateVersion, t.in.Refreshed = s.Version.String(), true
	t.in.Facts = c.facts
	t.in.AsOf, t.in.Features = c.asOf, c.features
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
	a, err := f.facts(was)
	if err != nil {
		return false
	}
	b, err := f.facts(is)
	return err == nil && reflect.DeepEqual(lawful(a), lawful(b))
}

// lawful are the facts without what every round changes.
func lawful(f event.Facts) event.Facts {
	f.LastGame, f.FailedGame, f.RecentGames = "", "", nil
	return f
}
