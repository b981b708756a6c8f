package decide

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"github.com/go-json-experiment/json"

	"pitboss/internal/event"
	"pitboss/internal/journal"
	"pitboss/internal/policy"
)

// revoke takes back what was issued and is not delivered yet, on the player's account
// and on linked ones. It also puts the player on hold, so that a decision that is being
// made from the older state is not recorded, or is made again.
func (f *Function) revoke(ctx context.Context, e *ce.Event, r *event.Record, why event.Reason, service bool) (*ce.Event, error) {
	t := taking{f: f, cause: r, why: []event.Reason{why}}
	out, err := t.one(ctx, r.Subject, opened(service), true)
	if errors.Is(err, journal.ErrErased) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	linked, err := f.accounts(ctx, t.contacts)
	if err != nil {
		return nil, err
	}
	t.why = linkedWhy
	for i := range linked {
		if linked[i].id == r.Subject {
			continue
		}
		more, err := t.other(ctx, &linked[i], opened(service))
		if err != nil {
			return nil, err
		}
		out.Revoked = append(out.Revoked, more.Revoked...)
	}
	return f.revoked(e, out)
}

// opened selects marketing and, if service is set, service.
func opened(service bool) func(*policy.Sent) bool {
	return func(s *policy.Sent) bool {
		return s.Kind == policy.Marketing[0] || service && s.Kind == policy.Service[0]
	}
}

// revoked returns the reply that says what was taken back, or nil if nothing was.
func (f *Function) revoked(e *ce.Event, out *event.Recommendation) (*ce.Event, error) {
	if out == nil || len(out.Revoked) == 0 {
		return nil, nil
	}
	reply, err := event.Reply(e, name, event.TypeRevoked, out.DecidedAt, out)
	if err != nil {
		return nil, err
	}
	reply.SetExtension(event.ExtKind, out.Kind)
	return reply, nil
}

// taking takes back recommendations because of an event.
type taking struct {
	f        *Function
	cause    *event.Record
	why      []event.Reason
	contacts *policy.Contacts // the history of the account that was read last
}

// id is the id of the revocation that the event causes for a player.
func (t *taking) id(player string) string {
	return journal.DecisionID(player, event.ReplyID(t.cause.Source, t.cause.ID, event.TypeRevoked))
}

// other takes back what is open on a linked account. a was just read; the cache may
// have an older history. If there is nothing to take back and nothing was taken back
// before, it records nothing.
func (t *taking) other(ctx context.Context, a *account, pick func(*policy.Sent) bool) (*event.Recommendation, error) {
	_, made := a.Contacts.Find(t.id(a.id))
	open := slices.ContainsFunc(a.Contacts.Open(t.f.clock(t.cause.Time)), func(n int) bool { return pick(&a.Contacts.Sent[n]) })
	if !made && !open {
		return &event.Recommendation{}, nil
	}
	out, err := t.one(ctx, a.id, pick, false)
	if errors.Is(err, journal.ErrErased) {
		return &event.Recommendation{}, nil
	}
	return out, err
}

// one takes back those of a player's open recommendations that pick selects. With hold
// it puts the player on hold. A redelivered event takes back the same ones.
func (t *taking) one(ctx context.Context, player string, pick func(*policy.Sent) bool, hold bool) (*event.Recommendation, error) {
	r, now := t.cause, t.f.clock(t.cause.Time)
	id := t.id(player)
	out := &event.Recommendation{Decision: id, Action: policy.NoAction, Kind: policy.Marketing, Reasons: t.why, DedupKey: id, DecidedAt: now}
	if player == r.Subject { // a linked account must not see the event
		out.Trigger = event.Trigger{Type: r.Type, Source: r.Source, ID: r.ID, Time: r.Time}
	}
	var made uint64
	_, err := t.f.journal.Record(ctx, player, journal.Present, func(v journal.View) (*journal.Draft, error) {
		made, out.Revoked = 0, nil
		contacts, err := policy.ReadContacts(v.Contacts)
		if err != nil {
			return nil, err
		}
		t.contacts = contacts
		if seq, ok := contacts.Find(id); ok {
			made = seq
			return nil, nil
		}
		after, revoked := contacts.Revoke(id, v.Seq, now, pick)
		if hold {
			after.Hold = now.Add(policy.HoldFor)
		}
		t.contacts, out.Revoked = after, revoked
		return revocationDraft(out, now, after)
	})
	if err == nil && made != 0 {
		return t.f.recallRevocation(ctx, out, made)
	}
	return out, err
}

func revocationDraft(out *event.Recommendation, now time.Time, after *policy.Contacts) (*journal.Draft, error) {
	open, err := json.Marshal(revocation{out.Decision, out.Revoked, out.Reasons})
	if err != nil {
		return nil, fmt.Errorf("decide: revoke: %w", err)
	}
	personal, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("decide: revoke: %w", err)
	}
	return &journal.Draft{Kind: journal.KindRevoke, Time: now, Open: open, Personal: personal, Contacts: after, Decision: out.Decision}, nil
}

// revocation is the open part of a journal entry of kind revoke.
type revocation struct {
	ID      string         `json:"id"`
	Revoked []string       `json:"revoked"`
	Reasons []event.Reason `json:"reasons"`
}

// recallRevocation reads the revocation that was made before. It returns out if the
// entry was written out to a segment, or if the player was erased.
func (f *Function) recallRevocation(ctx context.Context, out *event.Recommendation, seq uint64) (*event.Recommendation, error) {
	entry, err := f.recorded(ctx, out.Decision, seq)
	if entry == nil || err != nil {
		return out, err
	}
	was := &event.Recommendation{}
	if err := json.Unmarshal(entry.Personal, was); err != nil {
		return nil, fmt.Errorf("decide: revoke: %w", err)
	}
	return was, nil
}
