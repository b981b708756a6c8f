package decide

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"github.com/go-json-experiment/json"

	"pitboss/internal/event"
	"pitboss/internal/journal"
	"pitboss/internal/policy"
)

// Accounts of one person bind one another: an exclusion or an opt-out on one holds for
// all. The accounts are in different slots, so no script sees all of them. A decision
// therefore reads what binds it before it is made, and again after it is recorded and
// before it is answered. An exclusion works the other way round: it is written to its
// own account first, and then it reads what is open on the others. So of a decision and
// an exclusion at the same time at least one sees the other. docs/state.md has the
// invariants.

// account is one account of a person.
type account struct {
	id string
	policy.Account
}

// accounts returns the accounts of the persons that a contact history names. Each
// account's own history must confirm the link. The player's account may be among them.
func (f *Function) accounts(ctx context.Context, c *policy.Contacts) ([]account, error) {
	persons := f.decidesBy().Persons(c)
	if len(persons) == 0 {
		return nil, nil
	}
	found, err := f.journal.Accounts(ctx, persons)
	if err != nil {
		return nil, err
	}
	out := make([]account, 0, len(found))
	for i := range found {
		contacts, err := policy.ReadContacts(found[i].Contacts)
		if err != nil {
			return nil, err
		}
		if !shared(persons, f.decidesBy().Persons(contacts)) {
			continue // no longer linked, or with too little confidence
		}
		st, err := f.set.Decode(found[i].State.Bytes)
		if err != nil {
			return nil, fmt.Errorf("decide: linked account: %w", err)
		}
		out = append(out, account{found[i].ID, policy.Account{Facts: f.set.Facts(st), Contacts: contacts}})
	}
	return out, nil
}

// shared reports whether two sorted lists have anything in common.
func shared(a, b []string) bool {
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0] == b[0]:
			return true
		case a[0] < b[0]:
			a = a[1:]
		default:
			b = b[1:]
		}
	}
	return false
}

// bind returns what the other accounts bind account id to.
func (f *Function) bind(all []account, id string, now time.Time) *policy.Linked {
	others := make([]policy.Account, 0, len(all))
	for i := range all {
		if all[i].id != id {
			others = append(others, all[i].Account)
		}
	}
	return f.decidesBy().Bind(others, now)
}

// linked returns what a player's other accounts bind the player to. It is nil if there
// are none.
func (f *Function) linked(ctx context.Context, id string, c *policy.Contacts, now time.Time) (*policy.Linked, error) {
	if len(c.Links) == 0 {
		return nil, nil
	}
	all, err := f.accounts(ctx, c)
	if all == nil || err != nil {
		return nil, err
	}
	return f.bind(all, id, now), nil
}

// concurrent is how much later than a decision another account's message may have been
// sent to count as sent at the same time.
const concurrent = 10 * time.Second

// confirm reports whether a recorded decision still stands. It reads again what binds
// the player. If something now stops the decision, confirm takes it back and returns
// the revocation to answer with.
func (f *Function) confirm(ctx context.Context, e *ce.Event, r *event.Record, t *request) (back *ce.Event, stands bool, err error) {
	in, d := t.record.Input, &t.record.Decision
	take := taking{f: f, cause: r}
	if t.taken {
		seq, mine := t.history.Find(take.id(in.Player))
		if !mine {
			return nil, false, nil // another event took it back and was answered
		}
		out, err := f.recallRevocation(ctx, &event.Recommendation{Decision: take.id(in.Player)}, seq)
		if err != nil {
			return nil, false, err
		}
		back, err = f.revoked(e, out)
		return back, false, err
	}
	if !d.Issued || d.Kind == policy.Protection || in.Linked == nil {
		return nil, true, nil
	}
	if take.why, err = f.stopped(ctx, &in, d.Action); err != nil || len(take.why) == 0 {
		return nil, true, err
	}
	out, err := take.one(ctx, in.Player, func(s *policy.Sent) bool { return s.Decision == in.Decision }, false)
	if err != nil {
		return nil, false, err
	}
	if back, err = f.revoked(e, out); back != nil || err != nil {
		return back, false, err
	}
	return nil, !take.contacts.Revoked(in.Decision), nil // it was delivered in the meantime, or another event took it back
}

// stopped returns why an action must not be sent after all, if what the other accounts
// bind the player to has changed since the decision.
func (f *Function) stopped(ctx context.Context, in *policy.Input, action string) (why []event.Reason, err error) {
	now, err := f.linked(ctx, in.Player, in.Contacts, in.Now)
	if err != nil || now == nil || reflect.DeepEqual(now, in.Linked) {
		return nil, err
	}
	in.Linked = now.Until(in.Now.Add(concurrent))
	for _, b := range f.decidesBy().Decide(in).Blocks(action) {
		why = append(why, event.Reason{Code: b.Rule, Text: b.Text})
	}
	return why, nil
}

// errTooManyPersons refuses a link beyond policy.LinksKept.
var errTooManyPersons = fmt.Errorf("decide: an account can be linked to %d persons at most", policy.LinksKept)

// link notes in the account's contact history that it belongs to a person, or no longer
// does. It takes back what is open on accounts that are bound from now on.
func (f *Function) link(ctx context.Context, e *ce.Event, r *event.Record, l policy.Link, reason string) (*ce.Event, error) {
	l.At, l.Key = r.Time, r.Key()
	id := journal.DecisionID(r.Subject, event.ReplyID(r.Source, r.ID, r.Type))
	now := f.clock(r.Time)
	var contacts *policy.Contacts
	_, err := f.journal.Record(ctx, r.Subject, journal.Present, func(v journal.View) (_ *journal.Draft, err error) {
		if contacts, err = policy.ReadContacts(v.Contacts); err != nil {
			return nil, err
		}
		if _, ok := contacts.Find(id); ok {
			return nil, nil
		}
		if contacts = contacts.Relink(l, id, v.Seq, now); len(contacts.Links) > policy.LinksKept {
			return nil, event.Permanent(errTooManyPersons)
		}
		open, err := json.Marshal(linking{id, l.On, l.Confidence})
		if err != nil {
			return nil, fmt.Errorf("decide: link: %w", err)
		}
		personal, err := json.Marshal(linkingOf{r.Subject, l.Person, reason})
		if err != nil {
			return nil, fmt.Errorf("decide: link: %w", err)
		}
		return &journal.Draft{Kind: journal.KindLink, Time: now, Open: open, Personal: personal, Contacts: contacts, Decision: id}, nil
	})
	if errors.Is(err, journal.ErrErased) {
		return nil, nil
	}
	if err != nil || !l.On {
		return nil, err
	}
	if err := f.index(ctx, l.Person, r.Subject); err != nil {
		return nil, err
	}
	return f.bindAll(ctx, e, r, contacts)
}

// index adds an account to a person's index. An erasure at the same time has cleaned
// only the indexes that the history named then, so index removes the account again if
// its history is gone.
func (f *Function) index(ctx context.Context, person, id string) error {
	if err := f.journal.Index(ctx, person, id); err != nil {
		return err
	}
	b, err := f.journal.Contacts(ctx, id)
	if err != nil {
		return err
	}
	c, err := policy.ParseContacts(b)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(c.Links, func(l policy.Link) bool { return l.Person == person }) {
		return nil
	}
	return f.journal.Unindex(ctx, person, id)
}

// linking is the open part of a journal entry of kind link; linkingOf is its sealed part.
type linking struct {
	ID         string `json:"id"`
	Linked     bool   `json:"linked"`
	Confidence uint8  `json:"confidence,omitzero"`
}

type linkingOf struct {
	Player string `json:"player"`
	Person string `json:"person"`
	Reason string `json:"reason,omitzero"`
}

// linkedWhy names neither the other account nor what happened there, since the player
// may ask for a copy.
var linkedWhy = []event.Reason{{Code: policy.ReasonLinked, Text: "Another account of the same person is excluded, or opted out."}}

// bindAll takes back what is open on accounts that another account's exclusion or
// opt-out binds.
func (f *Function) bindAll(ctx context.Context, e *ce.Event, r *event.Record, contacts *policy.Contacts) (*ce.Event, error) {
	all, err := f.accounts(ctx, contacts)
	if err != nil {
		return nil, err
	}
	t := taking{f: f, cause: r, why: linkedWhy}
	out := &event.Recommendation{}
	for i := range all {
		now := f.clock(r.Time)
		l := f.bind(all, all[i].id, now)
		// A hold may stand for an exclusion that is not in the state yet.
		excluded := len(l.Exclusions) > 0 || now.Before(l.Contacts.Hold)
		if !excluded && len(l.OptOuts) == 0 {
			continue
		}
		more, err := t.other(ctx, &all[i], opened(excluded))
		switch {
		case err != nil:
			return nil, err
		case len(out.Revoked) == 0:
			out = more
		default:
			out.Revoked = append(out.Revoked, more.Revoked...)
		}
	}
	return f.revoked(e, out)
}
