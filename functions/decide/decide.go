package decide

import (
	"context"
	"errors"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"

	"pitboss/internal/event"
	"pitboss/internal/journal"
	"pitboss/internal/policy"
)

// request is one player.scored that a decision is made from.
type request struct {
	f     *Function
	given policy.Input // as the event has it
	made
}

// made is the result of a request. A decision that could not be recorded is made again
// from the start, so draft resets all of it.
type made struct {
	in      policy.Input
	record  *policy.Record
	before  uint64           // the journal entry, if this decision was made before; 0: it was not
	taken   bool             // it was made before and taken back since
	history *policy.Contacts // set with before
	gone    bool             // there is no such player, or no longer
	late    bool             // the event is too old to know whether it was decided on before
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
	t := request{f: f, given: policy.Input{
		Decision: journal.DecisionID(r.Subject, event.ReplyID(r.Source, r.ID, event.TypeRecommendation)),
		Player:   r.Subject, Trigger: data.Trigger, Now: f.clock(data.AsOf), AsOf: data.AsOf.UTC(),
		StateVersion: data.Version, Facts: data.Facts, FeatureSet: data.FeatureSet,
		Scores: data.Scores, Models: data.Models, Ranking: f.ranked(data, switches), Killed: switches, Wording: policy.Wording,
	}}
	if t.given.Features, t.given.Missing, err = vector(data.Features, f.policy.FeatureNames(), f.empty); err != nil {
		return nil, event.Permanent(err)
	}
	f.calibrate(&t.given)
	if _, err = f.journal.Submit(ctx, journal.Change{Player: r.Subject, Version: version, Decide: func(v journal.View) (*journal.Draft, error) { return t.draft(ctx, v) }, Same: f.sameFacts}); err != nil {
		return nil, err
	}
	if t.late {
		return nil, event.Permanent(errTooLate)
	}
	if t.gone {
		return nil, nil
	}
	if t.before != 0 {
		if err := t.recall(ctx); err != nil {
			return nil, err
		}
		if t.record == nil {
			return nil, nil
		}
	}
	if t.before == 0 {
		countShadow(&t.record.Decision)
	}
	back, stands, err := f.confirm(ctx, e, r, &t)
	if err != nil || !stands {
		return back, err
	}
	return f.answer(e, t.record)
}

// clock returns the time of a decision, in the milliseconds that the journal keeps.
func (f *Function) clock(asOf time.Time) time.Time {
	if f.cfg.Clock == "event" {
		return asOf.UTC().Truncate(time.Millisecond)
	}
	return f.now().UTC().Truncate(time.Millisecond)
}

// draft makes the decision from the current contact history, and from the current
// state if that has changed since the event.
func (t *request) draft(ctx context.Context, v journal.View) (*journal.Draft, error) {
	t.made = made{in: t.given}
	contacts, err := policy.ReadContacts(v.Contacts)
	if err != nil {
		return nil, err
	}
	seq, recorded := contacts.Find(t.in.Decision)
	if !recorded {
		switch contacts.Remembers(t.in.Happened(), t.in.Now) {
		case policy.TooLate:
			t.late = true
			return nil, nil
		case policy.Unsure:
			if seq, recorded, err = v.Recorded(t.in.Decision); err != nil {
				return nil, err
			}
		}
	}
	if recorded {
		t.before, t.taken, t.history = seq, contacts.Revoked(t.in.Decision), contacts
		return nil, nil
	}
	if v.Fresh {
		if err := t.refresh(v.State); err != nil || t.gone {
			return nil, err
		}
	}
	t.in.Contacts = contacts
	if t.in.Linked, err = t.f.linked(ctx, t.in.Player, contacts, t.in.Now); err != nil {
		return nil, err
	}
	by := t.f.decidesBy()
	d := by.Decide(&t.in)
	t.record = &policy.Record{Input: t.in, Decision: *d}
	open, personal := t.record.Split()
	draft := &journal.Draft{Kind: journal.KindDecision, Time: t.in.Now, Open: open, Personal: personal,
		Contacts: contacts.After(&t.in, d, by.IsBonus(d.Action), v.Seq), Decision: t.in.Decision}
	if len(d.Review) > 0 {
		draft.Deadline = t.in.Now.Add(t.f.cfg.Review)
	}
	return draft, nil
}

// errTooLate refuses an event that a decision may have been made from before. The
// player's next event brings a current one.
var errTooLate = errors.New("decide: the event is more than 24 hours old, so whether it was decided on before is not remembered")

// recall reads the decision that was made before. It leaves record nil if the entry was
// written out to a segment, or if the player was erased.
func (t *request) recall(ctx context.Context) error {
	entry, err := t.f.recorded(ctx, t.in.Decision, t.before)
	if entry != nil {
		t.record, err = policy.Join(entry.Open, entry.Personal)
	}
	return err
}

// recorded reads the entry of a decision or a revocation. It is nil if the entry was
// written out to a segment, or if the player was erased.
func (f *Function) recorded(ctx context.Context, id string, seq uint64) (*journal.Entry, error) {
	shard, err := journal.ShardOf(id)
	if err != nil {
		return nil, err
	}
	entry, err := f.journal.Read(ctx, shard, seq)
	if errors.Is(err, journal.ErrNotFound) || err == nil && entry.Personal == nil {
		return nil, nil
	}
	return entry, err
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
	out.SetID(data.Decision) // outcomes refer to it
	attributes(out, data, &r.Input.Facts)
	return out, nil
}

// attributes sets the attributes that consuming teams' Triggers filter by.
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
