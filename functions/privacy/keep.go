package privacy

import (
	"context"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"pitboss/internal/event"
	"pitboss/internal/journal"
	"pitboss/internal/policy"
)

// Kept is what the law has the operator keep of an erased player.
type Kept struct {
	Player       string            `json:"player"`
	Request      string            `json:"request"`
	Erased       time.Time         `json:"erased"`
	Until        time.Time         `json:"until"`
	Jurisdiction string            `json:"jurisdiction,omitzero"`
	Law          string            `json:"law"` // the source of the retention time
	Exclusions   []event.Exclusion `json:"exclusions,omitempty"`
	Interactions []Interaction     `json:"interactions,omitempty"`
}

// Interaction is a protection message, its outcome, or its review.
type Interaction struct {
	Kind     string         `json:"kind"` // decision, outcome, review, revoke
	At       time.Time      `json:"at"`
	Decision string         `json:"decision,omitzero"`
	Action   string         `json:"action,omitzero"`
	Channel  string         `json:"channel,omitzero"`
	Message  string         `json:"message,omitzero"`
	Reasons  []event.Reason `json:"reasons,omitempty"`
	Said     jsontext.Value `json:"said,omitempty"` // the outcome or review, as it was journaled
}

// keep puts what must be kept of a player into the vault. It runs before anything is
// removed.
func (r *Rights) keep(ctx context.Context, id, request string, facts *event.Facts, now time.Time) error {
	law, ok := r.law.Retention(facts.Jurisdiction)
	if !ok {
		return fmt.Errorf("privacy: no rule pack says how long interactions with players of %q are kept", facts.Jurisdiction)
	}
	k := Kept{Player: id, Request: request, Erased: now, Until: now.Add(time.Duration(law.For)), Jurisdiction: facts.Jurisdiction,
		Law: law.Source.String(), Exclusions: facts.Exclusions}
	protection := map[string]bool{}
	_, err := r.journal.About(ctx, r.segments, id, func(e *journal.Entry) error {
		if i, ok := interaction(e, protection); ok {
			k.Interactions = append(k.Interactions, i)
		}
		return nil
	})
	if err != nil || len(k.Exclusions)+len(k.Interactions) == 0 {
		return err
	}
	doc, err := json.Marshal(k)
	if err != nil {
		return fmt.Errorf("privacy: keep: %w", err)
	}
	return r.vault.Put(ctx, id, journal.Kept{Request: request, Until: k.Until, Document: doc})
}

// interaction reads a journal entry. ok is false if it need not be kept. protection
// collects the decisions whose outcomes and reviews must be kept, too.
func interaction(e *journal.Entry, protection map[string]bool) (i Interaction, ok bool) {
	i = Interaction{Kind: e.Kind, At: e.Time.UTC()}
	if e.Kind == journal.KindDecision {
		rec, err := policy.Join(e.Open, e.Personal)
		if err != nil || !rec.Decision.Issued || rec.Decision.Kind != policy.Protection {
			return i, false
		}
		d := rec.Recommendation()
		protection[d.Decision] = true
		i.Decision, i.Action, i.Channel, i.Message, i.Reasons = d.Decision, d.Action, d.Channel, d.Message, d.Reasons
		return i, true
	}
	var about struct {
		Decision string `json:"decision"`
	}
	if json.Unmarshal(e.Open, &about) != nil || !protection[about.Decision] {
		return i, false
	}
	i.Decision, i.Said = about.Decision, jsontext.Value(e.Open)
	return i, true
}

// heldUntil returns until when the player stays excluded: until the last exclusion and
// the retention time after it are over, or for ever if an exclusion has no end. It is
// zero if the player is not excluded.
func (r *Rights) heldUntil(facts *event.Facts) time.Time {
	last := time.Time{}
	law, ok := r.law.Retention(facts.Jurisdiction)
	for _, x := range facts.Exclusions {
		if x.Until.IsZero() || !ok {
			return journal.Forever
		}
		if x.Until.After(last) {
			last = x.Until
		}
	}
	if last.IsZero() {
		return last
	}
	return last.Add(time.Duration(law.For))
}
