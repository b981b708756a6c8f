package decide

import (
	"context"
	"errors"
	"fmt"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"

	"pitboss/internal/event"
	"pitboss/internal/journal"
	"pitboss/internal/player"
	"pitboss/internal/policy"
)

// turn is one player.scored being decided on.
type turn struct {
	f      *Function
	in     policy.Input
	record *policy.Record // what was decided
	made   uint64         // the journal's entry, where this decision was made before
	gone   bool           // there is no such player (any more)
	late   bool           // nobody can tell any more whether it was decided on before
}

func (f *Function) decide(ctx context.Context, e *ce.Event, r *event.Record, data *event.PlayerScored) (*ce.Event, error) {
	switches, ok := f.board.Current(ctx)
	if !ok {
		return nil, errSwitches
	}
	version, err := journal.ParseVersion(data.Version)
	if err != nil {
		return nil, event.Permanent(err)
	}
	t := turn{f: f, in: policy.Input{
		Decision: journal.DecisionID(r.Subject, event.ReplyID(r.Source, r.ID, event.TypeRecommendation)),
		Player:   r.Subject, Trigger: data.Trigger, Now: f.clock(data.AsOf), AsOf: data.AsOf.UTC(),
		StateVersion: data.Version, Facts: data.Facts, FeatureSet: data.FeatureSet,
		Scores: data.Scores, Models: data.Models, Ranking: data.Ranking, Killed: switches,
	}}
	if t.in.Features, t.in.Missing, err = vector(nil, data.Features, f.policy.FeatureNames(), f.empty); err != nil {
		return nil, event.Permanent(err)
	}
	draft := func(v journal.View) (*journal.Draft, error) { return t.draft(ctx, v) }
	if _, err = f.journal.Record(ctx, r.Subject, version, draft); err != nil {
		return nil, err
	}
	if t.late {
		return nil, event.Permanent(errTooLate)
	}
	if t.gone {
		return nil, nil
	}
	if t.made != 0 {
		if err := t.recall(ctx); err != nil {
			return nil, err
		}
		if t.record == nil {
			return nil, nil
		}
	}
	return f.answer(e, t.record)
}

// clock is now, in the milliseconds that the journal keeps.
func (f *Function) clock(asOf time.Time) time.Time {
	if f.cfg.Clock == "event" {
		return asOf.UTC().Truncate(time.Millisecond)
	}
	return f.now().UTC().Truncate(time.Millisecond)
}

// draft decides on what the journal says is current.
func (t *turn) draft(ctx context.Context, v journal.View) (*journal.Draft, error) {
	contacts, err := policy.ParseContacts(v.Contacts)
	if err != nil {
		return nil, err
	}
	if seq, ok := contacts.Find(t.in.Decision); ok {
		t.made = seq
		return nil, nil
	}
	if before, err := t.before(ctx, contacts); before || err != nil {
		return nil, err
	}
	if v.Fresh {
		if err := t.refresh(v.Version, v.State); err != nil || t.gone {
			return nil, err
		}
	}
	t.in.Contacts = contacts
	d := t.f.policy.Decide(&t.in)
	t.record = &policy.Record{Input: t.in, Decision: *d}
	open, personal := t.record.Split()
	after := contacts.After(&t.in, d, t.f.policy.IsBonus(d.Action), v.Seq)
	draft := &journal.Draft{Kind: journal.KindDecision, Time: t.in.Now, Open: open, Personal: personal,
		Contacts: after.Append(nil), Decision: t.in.Decision}
	if len(d.Review) > 0 {
		draft.Deadline = t.in.Now.Add(t.f.cfg.Review)
	}
	return draft, nil
}

// errTooLate refuses an event that may have been decided on: what is current
// comes with the player's next event.
var errTooLate = errors.New("decide: the event is more than 24 hours old, so whether it was decided on before is not remembered")

// before settles whether there is nothing to decide, where the contact history
// alone can't tell.
func (t *turn) before(ctx context.Context, contacts *policy.Contacts) (bool, error) {
	switch contacts.Remembers(t.in.AsOf, t.in.Now) {
	case policy.TooLate:
		t.late = true
		return true, nil
	case policy.Unsure:
		entry, _, err := t.f.journal.Find(ctx, journal.Segments{}, t.in.Decision)
		if errors.Is(err, journal.ErrNotFound) {
			return false, nil
		}
		if err == nil {
			t.made = entry.Seq
		}
		return err == nil, err
	}
	return false, nil
}

// refresh takes over the player's current state: the one the event carries has
// changed since. The scores stay those of the event.
func (t *turn) refresh(version player.Version, state []byte) error {
	if version == (player.Version{}) {
		t.gone = true
		return nil
	}
	st, err := t.f.set.Decode(state)
	if err != nil {
		return fmt.Errorf("decide: state: %w", err)
	}
	t.in.StateVersion, t.in.Refreshed = version.String(), true
	t.in.Facts = t.f.set.Facts(st)
	t.in.AsOf = later(t.in.AsOf, st.AsOf())
	t.in.Features = t.f.set.Vector(nil, st, t.in.AsOf)
	t.in.FeatureSet, t.in.Missing = t.f.set.Hash(), nil
	return nil
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// recall reads what was decided before. Where the entry has been written out
// to a segment, or its key was destroyed, there is nothing left to say.
func (t *turn) recall(ctx context.Context) error {
	shard, err := journal.ShardOf(t.in.Decision)
	if err != nil {
		return err
	}
	entry, err := t.f.journal.Read(ctx, shard, t.made)
	if errors.Is(err, journal.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if entry.Personal == nil {
		return nil
	}
	t.record, err = policy.Join(entry.Open, entry.Personal)
	return err
}

// answer builds the reply of a decision.
func (f *Function) answer(in *ce.Event, r *policy.Record) (*ce.Event, error) {
	typ := event.TypeSuppressed
	if r.Decision.Issued {
		typ = event.TypeRecommendation
	}
	data := r.Recommendation()
	out, err := event.Reply(in, name, typ, data.DecidedAt, data)
	if err != nil {
		return nil, err
	}
	out.SetID(data.Decision) // what outcomes refer to
	attributes(out, data, &r.Input.Facts)
	return out, nil
}

// attributes are what consuming teams' Triggers filter on.
func attributes(out *ce.Event, data *event.Recommendation, facts *event.Facts) {
	for _, a := range [...][2]string{
		{event.ExtAction, data.Action}, {event.ExtKind, data.Kind}, {event.ExtChannel, data.Channel},
		{event.ExtSeverity, data.Severity}, {event.ExtArm, data.Arm},
		{event.ExtJurisdiction, facts.Jurisdiction}, {event.ExtBrand, facts.Brand},
	} {
		if a[1] != "" {
			out.SetExtension(a[0], a[1])
		}
	}
	if data.Review {
		out.SetExtension(event.ExtReview, "true")
	}
	if !data.Expires.IsZero() {
		out.SetExtension(event.ExtExpiry, data.Expires.Format(time.RFC3339Nano))
	}
}
