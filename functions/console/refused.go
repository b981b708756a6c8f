package console

import (
	"strings"
	"sync"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	lru "github.com/hashicorp/golang-lru/v2"

	"pitboss/internal/event"
)

// refusal says that an event became a dead letter of a Trigger, and why. The
// Trigger's subscriber did not accept it, so it did not count there.
type refusal struct {
	Trigger string    `json:"trigger"`
	Code    int       `json:"code,omitzero"` // HTTP status of the last attempt
	Reason  string    `json:"reason,omitzero"`
	At      time.Time `json:"at"`

	player string
}

// refusals remembers the newest dead letters by their event, so that a player's
// timeline does not show a refused event as if it had counted. A dead letter that is
// discarded stays refused; one that is replayed does not.
type refusals struct {
	mu    sync.Mutex // held by changes; reads do not need it
	byKey *lru.Cache[uint64, []refusal]
}

func newRefusals() *refusals {
	byKey, err := lru.New[uint64, []refusal](keptDeadLetters)
	if err != nil {
		panic(err) // New fails only if the size is below one
	}
	return &refusals{byKey: byKey}
}

func keyOf(e *ce.Event) uint64 { return event.Key(event.Source(e), e.ID()) }

// note remembers the latest dead letter of each Trigger for an event.
func (rs *refusals) note(d *deadLetter) {
	trigger, _, _ := strings.Cut(d.Trigger, ".") // a Service's host begins with its name
	r := refusal{Trigger: strings.TrimPrefix(trigger, "pitboss-"), Code: d.Code, Reason: d.Reason, At: d.At, player: d.Event.Subject()}
	key := keyOf(&d.Event)
	rs.mu.Lock()
	defer rs.mu.Unlock()
	was, _ := rs.byKey.Get(key)
	list := []refusal{}
	for _, old := range was {
		if old.Trigger != r.Trigger {
			list = append(list, old)
		}
	}
	rs.byKey.Add(key, append(list, r))
}

// of returns why and by whom an event was refused. It is empty if it was not.
func (rs *refusals) of(s *seen) []refusal {
	list, _ := rs.byKey.Peek(event.Key(s.Source, s.ID))
	return list
}

// again removes the refusals of an event that is about to be delivered again. restore
// puts them back if that fails.
func (rs *refusals) again(e *ce.Event) (restore func()) {
	key := keyOf(e)
	rs.mu.Lock()
	defer rs.mu.Unlock()
	was, ok := rs.byKey.Peek(key)
	if !ok {
		return func() {}
	}
	rs.byKey.Remove(key)
	return func() { rs.byKey.ContainsOrAdd(key, was) } // unless it was refused again in the meantime
}

// forget drops the refusals of an erased player's events.
func (rs *refusals) forget(player string) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for _, key := range rs.byKey.Keys() {
		if list, ok := rs.byKey.Peek(key); ok && len(list) > 0 && list[0].player == player {
			rs.byKey.Remove(key)
		}
	}
}
