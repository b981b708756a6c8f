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

// Copy is everything Pitboss has of a player, for the player to read.
type Copy struct {
	Player   string            `json:"player"`
	Request  string            `json:"request"`
	Made     time.Time         `json:"made"`
	AsOf     time.Time         `json:"as_of,omitzero"`  // the player's latest event
	Erased   time.Time         `json:"erased,omitzero"` // of late
	Facts    event.Facts       `json:"facts"`
	Consents []feature.Consent `json:"consents,omitempty"` // the facts', with when and where
	Features []Feature         `json:"features,omitempty"`
	// State is what the features are computed from, in words: registers, sums,
	// and the recent events, one a line.
	State      []string     `json:"state,omitempty"`
	Bytes      int          `json:"bytes"` // of state and duplicate memory as stored
	Reminders  []Reminder   `json:"reminders,omitempty"`
	Remembered []Remembered `json:"remembered,omitempty"`
	Contacts   *Contacts    `json:"contacts"`
	Journal    []Entry      `json:"journal,omitempty"`
	// Missing says what is not in this copy.
	Missing   string         `json:"missing,omitempty"`
	LegalHold jsontext.Value `json:"legal_hold,omitempty"`
}

// Contacts is what the player was recommended of late.
type Contacts struct {
	Bonuses   uint64    `json:"bonuses"`             // recommended ever
	Hold      time.Time `json:"hold,omitzero"`       // no marketing until then
	Sent      []Sent    `json:"sent,omitempty"`      // of the last 31 days
	Decisions int       `json:"decisions_last_24_h"` // remembered, so that none is made twice
	Links     []Link    `json:"links,omitempty"`     // that the account belongs to a person; not which others do
}

// Link is what an event said about whose account it is. The person's other
// accounts are not told.
type Link struct {
	At         time.Time `json:"at"`
	Linked     bool      `json:"linked"`
	Confidence uint8     `json:"confidence,omitzero"` // percent
}

// Sent is one recommendation and what became of it.
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

// Feature is one number about a player and what it means.
type Feature struct {
	Name  string  `json:"name"`
	Means string  `json:"means"`
	Value float64 `json:"value"`
}

// Reminder is something that will be looked at again.
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

// conceal leaves out of a journal entry what came from other accounts of the
// same person: they are other people's for all that an export may assume.
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

// Export writes a copy of everything about the player as JSON.
func (r *Rights) Export(ctx context.Context, id, request string, now time.Time) ([]byte, error) {
	out := Copy{Player: id, Request: request, Made: now}
	kept, err := r.store.Export(ctx, id)
	if err != nil {
		return nil, err
	}
	out.fromStore(r.set, kept)
	b, err := r.journal.Contacts(ctx, id)
	if err != nil {
		return nil, err
	}
	contacts, err := policy.ParseContacts(b)
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

// errErased: the same request makes a copy of what is left.
var errErased = errors.New("privacy: export: the player was erased while the copy was made")

// keepCopy makes a copy that waits to be fetched. An erasure that came in between
// has dropped the copies it found, so one that is newer than the mark it left must
// not stay.
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

// fromStore takes over what the player's state, duplicate memory and reminders say.
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
