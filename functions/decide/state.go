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

// current is a player's current state as decisions use it. The decisions of one batch
// share it.
type current struct {
	facts    event.Facts
	latest   time.Time // the latest event in the state
	features []float64 // as of asOf
	asOf     time.Time
}

// states recycles the memory of decoded states.
var states = sync.Pool{New: func() any { return (*feature.State)(nil) }}

// facts returns the state's facts without computing its features.
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

// current decodes the state and computes its features as of asOf or of its latest
// event, whichever is later.
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

// refresh replaces the event's facts and features by those of the player's current
// state, which has changed since. The scores stay those of the event.
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

// sameFacts reports whether a decision made from one state may be recorded although the
// player has played on. Every fact that law depends on must be unchanged: exclusions,
// consents, limits, indicators of harm, the account. Features and the last games may
// be a moment old: the decision is the same as if the player's next event had arrived
// a moment later.
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

// lawful returns the facts without those that every round changes.
func lawful(f event.Facts) event.Facts {
	f.LastGame, f.FailedGame, f.RecentGames = "", "", nil
	return f
}
