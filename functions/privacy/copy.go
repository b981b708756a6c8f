package privacy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"pitboss/internal/event"
	"pitboss/internal/feature"
	"pitboss/internal/journal"
	"pitboss/internal/player"
	"pitboss/internal/policy"
)

// Copy is everything that Pitboss stores about a player, for the player to read.
type Copy struct {
	Player   string            `json:"player"`
	Request  string            `json:"request"`
	Made     time.Time         `json:"made"`
	AsOf     time.Time         `json:"as_of,omitzero"`  // the player's latest event
	Erased   time.Time         `json:"erased,omitzero"` // the last erasure, while its mark stands
	Facts    event.Facts       `json:"facts"`
	Consents []feature.Consent `json:"consents,omitempty"` // those of the facts, with when and where each was given
	Features []Feature         `json:"features,omitempty"`
	// State lists what the features are computed from: registers, sums and the recent
	// events, one a line.
	State      []string     `json:"state,omitempty"`
	Bytes      int          `json:"bytes"` // size of state and duplicate memory as stored
	Reminders  []Reminder   `json:"reminders,omitempty"`
	Remembered []Remembered `json:"remembered,omitempty"`
	Contacts   *Contacts    `json:"contacts"`
	Journal    []Entry      `json:"journal,omitempty"`
	// Missing says what this copy lacks.
	Missing   string         `json:"missing,omitempty"`
	LegalHold jsontext.Value `json:"legal_hold,omitempty"`
}

// Contacts is what was recommended to the player lately.
type Contacts struct {
	Bonuses   uint64    `json:"bonuses"`             // how many were ever recommended
	Hold      time.Time `json:"hold,omitzero"`       // no marketing until then
	Sent      []Sent    `json:"sent,omitempty"`      // in the last 31 days
	Decisions int       `json:"decisions_last_24_h"` // how many are remembered, so that none is made twice
	Links     []Link    `json:"links,omitempty"`     // events that said whose account this is
}

// Link is what an event said about whose account it is. It does not name the person's
// other accounts.
type Link struct {
	At         time.Time `json:"at"`
	Linked     bool      `json:"linked"`
	Confidence uint8     `json:"confidence,omitzero"` // percent
}

// Sent is a recommendation and its outcome.
type Sent struct {
	Decision string    `json:"decision"`
	Kind     string    `json:"kind"`
	Bonus    bool      `json:"bonus,omitzero"`
	At       time.Time `json:"at"`
	Expires  time.Time `json:"expires"`
	Status   string    `json:"status"`
}

func contactsOf(c *policy.Contacts) *Contacts {
	out := &Contacts{Bonuses: c.Bonuses, Hold: c.Hold, Decisions: len(c.Made)}
	for _, s := range c.Sent {
		out.Sent = append(out.Sent, Sent{s.Decision, policy.KindWord(s.Kind), s.Bonus, s.At, s.Expires, policy.StatusWord(s.Status)})
	}
	for _, l := range c.Links {
		out.Links = append(out.Links, Link{l.At, l.On, l.Confidence})
	}
	return out
}

// Feature is a number about a player and its meaning.
type Feature struct {
	Name  string  `json:"name"`
	Means string  `json:"means"`
	Value float64 `json:"value"`
}

// Reminder is a time at which the player's state will be looked at again.
type Reminder struct {
	Name string    `json:"name"`
	Due  time.Time `json:"due"`
}

// Remembered is an event that would be recognised if it came again.
type Remembered struct {
	Event   string    `json:"event"` // hash of its source and id
	Arrived time.Time `json:"arrived"`
}

// Entry is one entry of the decision journal.
type Entry struct {
	Kind     string         `json:"kind"`
	Time     time.Time      `json:"time"`
	Seq      uint64         `json:"seq"`
	Open     jsontext.Value `json:"open"`
	Personal jsontext.Value `json:"personal,omitempty"`
}

// conceal removes from a journal entry what came from linked accounts. An export must
// assume that those belong to somebody else.
func conceal(part []byte) jsontext.Value {
	if !bytes.Contains(part, []byte(`"linked`)) {
		return part
	}
	var v any
	if err := json.Unmarshal(part, &v); err != nil {
		return nil
	}
	out, err := json.Marshal(without(v), json.Deterministic(true))
	if err != nil {
		return nil
	}
	return out
}

func without(v any) any {
	switch v := v.(type) {
	case map[string]any:
		if _, other := v["linked"].(map[string]any); other {
			delete(v, "linked")
		}
		for k := range v {
			v[k] = without(v[k])
		}
	case []any:
		v = slices.DeleteFunc(v, func(x any) bool {
			m, ok := x.(map[string]any)
			return ok && m["code"] == policy.ReasonLinked
		})
		for i := range v {
			v[i] = without(v[i])
		}
		return v
	}
	return v
}

const missing = "Journal entries that were written out to segments: `pitboss privacy export --segments` adds them."

// Export returns a Copy of the player's data as JSON.
func (r *Rights) Export(ctx context.Context, id, request string, now time.Time) ([]byte, error) {
	out := Copy{Player: id, Request: request, Made: now}
	kept, err := r.store.Export(ctx, id)
	if err != nil {
		return nil, err
	}
	out.fromStore(r.set, kept)
	contacts, err := r.contacts(ctx, id)
	if err != nil {
		return nil, err
	}
	out.Contacts = contactsOf(contacts)
	if out.LegalHold, err = r.journal.LegalHold(ctx, id); err != nil {
		return nil, err
	}
	whole, err := r.journal.About(ctx, r.segments, id, func(e *journal.Entry) error {
		out.Journal = append(out.Journal, Entry{e.Kind, e.Time.UTC(), e.Seq, conceal(e.Open), conceal(e.Personal)})
		return nil
	})
	if err != nil {
		return nil, err
	}
	if !whole {
		out.Missing = missing
	}
	doc, err := json.Marshal(&out, json.Deterministic(true), jsontext.WithIndent("  "))
	if err != nil {
		return nil, fmt.Errorf("privacy: export: %w", err)
	}
	return doc, nil
}

// errErased is retryable: the same request then copies what is left.
var errErased = errors.New("privacy: export: the player was erased while the copy was made")

// keepCopy makes a copy and stores it to be fetched. An erasure at the same time drops
// only the copies that it finds, so keepCopy compares the erasure's mark before and
// after, and drops its copy if the mark has changed.
func (r *Rights) keepCopy(ctx context.Context, id, request string, now time.Time, keep time.Duration) ([]byte, error) {
	before, err := r.store.Erased(ctx, id)
	if err != nil {
		return nil, err
	}
	doc, err := r.Export(ctx, id, request, now)
	if err != nil {
		return nil, err
	}
	if err := r.journal.PutExport(ctx, id, request, doc, keep); err != nil {
		return nil, err
	}
	after, err := r.store.Erased(ctx, id)
	if err == nil && !after.Equal(before) {
		err = errors.Join(errErased, r.journal.DropExports(ctx, id, request))
	}
	return doc, err
}

// fromStore copies the player's state, duplicate memory and reminders.
func (c *Copy) fromStore(set *feature.Set, kept *player.Copy[feature.State]) {
	c.Consents = set.Consents(kept.State)
	c.Facts, c.AsOf, c.Erased, c.Bytes = set.Facts(kept.State), kept.State.AsOf(), kept.Erased, kept.Bytes
	for _, m := range kept.Remembered {
		c.Remembered = append(c.Remembered, Remembered{fmt.Sprintf("%016x", m.Key), m.Arrived})
	}
	for _, m := range kept.Reminders {
		c.Reminders = append(c.Reminders, Reminder{m.Name, m.Due})
	}
	if kept.Version == (player.Version{}) {
		return
	}
	for _, e := range set.Explain(kept.State, kept.State.AsOf()) {
		c.Features = append(c.Features, Feature{e.Declaration.Name, e.Declaration.Doc, e.Value})
	}
	c.State = strings.Split(strings.TrimSuffix(set.Dump(kept.State), "\n"), "\n")
}
