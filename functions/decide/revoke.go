package decide

import (
	"context"
	"errors"
	"fmt"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"github.com/go-json-experiment/json"

	"pitboss/internal/event"
	"pitboss/internal/journal"
	"pitboss/internal/policy"
)

// revoke takes back what was issued and is not yet delivered. It also puts the
// player on hold, so that a decision that is under way on the state of before
// is not recorded any more, or decided anew.
func (f *Function) revoke(ctx context.Context, e *ce.Event, r *event.Record, why event.Reason, service bool) (*ce.Event, error) {
	id := journal.DecisionID(r.Subject, event.ReplyID(r.Source, r.ID, event.TypeRevoked))
	now := f.clock(r.Time)
	out := &event.Recommendation{Decision: id, Action: policy.NoAction, Kind: policy.Marketing, Reasons: []event.Reason{why}, DedupKey: id,
		DecidedAt: now, Trigger: event.Trigger{Type: r.Type, Source: r.Source, ID: r.ID, Time: r.Time}}
	var made uint64
	_, err := f.journal.Record(ctx, r.Subject, journal.Present, func(v journal.View) (*journal.Draft, error) {
		made = 0
		contacts, err := policy.ReadContacts(v.Contacts)
		if err != nil {
			return nil, err
		}
		if seq, ok := contacts.Find(id); ok {
			made = seq
			return nil, nil
		}
		after, revoked := contacts.Revoke(id, v.Seq, now, service)
		out.Revoked = revoked
		open, err := json.Marshal(revocation{id, revoked, out.Reasons})
		if err != nil {
			return nil, fmt.Errorf("decide: revoke: %w", err)
		}
		personal, err := json.Marshal(out)
		if err != nil {
			return nil, fmt.Errorf("decide: revoke: %w", err)
		}
		return &journal.Draft{Kind: journal.KindRevoke, Time: now, Open: open, Personal: personal, Contacts: after, Decision: id}, nil
	})
	if errors.Is(err, journal.ErrErased) {
		return nil, nil
	}
	if err == nil && made != 0 {
		out, err = f.recallRevocation(ctx, id, made)
	}
	if err != nil || out == nil || len(out.Revoked) == 0 {
		return nil, err
	}
	reply, err := event.Reply(e, name, event.TypeRevoked, out.DecidedAt, out)
	if err != nil {
		return nil, err
	}
	reply.SetExtension(event.ExtKind, out.Kind)
	return reply, nil
}

// revocation is the open part of a journal entry of kind revoke.
type revocation struct {
	ID      string         `json:"id"`
	Revoked []string       `json:"revoked"`
	Reasons []event.Reason `json:"reasons"`
}

func (f *Function) recallRevocation(ctx context.Context, id string, seq uint64) (*event.Recommendation, error) {
	shard, err := journal.ShardOf(id)
	if err != nil {
		return nil, err
	}
	entry, err := f.journal.Read(ctx, shard, seq)
	if errors.Is(err, journal.ErrNotFound) || (err == nil && entry.Personal == nil) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out := &event.Recommendation{}
	if err := json.Unmarshal(entry.Personal, out); err != nil {
		return nil, fmt.Errorf("decide: revoke: %w", err)
	}
	return out, nil
}
