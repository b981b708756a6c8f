package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"go.uber.org/zap"

	"pitboss/internal/access"
	"pitboss/internal/event"
	"pitboss/internal/journal"
)

// Four eyes: a change that loosens something or alters the running system is proposed
// by one person and made when another approves it. With PITBOSS_APPROVERS=1 it is
// made at once.

// startProposals stores how many people a change takes, for the commands. Without that
// they require two.
func (f *Function) startProposals(ctx context.Context) error {
	if n := f.cfg.Approvers; n != 1 && n != 2 {
		return fmt.Errorf("console: PITBOSS_APPROVERS is %d: a change takes 1 person or 2", n)
	}
	if f.store.journal == nil {
		return nil
	}
	if err := f.store.journal.SetApprovers(ctx, f.cfg.Approvers); err != nil {
		f.Log.Warn("the number of approvers could not be stored for the commands", zap.Error(err))
	}
	return nil
}

// roleFor is the role that a person needs to propose, approve or withdraw a kind of
// change.
var roleFor = map[string]access.Role{
	journal.ProposeSwitchOff: access.Compliance, journal.ProposePolicy: access.Compliance,
	journal.ProposePromote: access.Operator, journal.ProposeRollback: access.Operator, journal.ProposeLearned: access.Operator,
}

// propose stores a change until a second person approves it, or makes it if one
// person is enough.
func (f *Function) propose(w http.ResponseWriter, r *http.Request, what, subject, note string, detail any) (any, error) {
	raw, err := json.Marshal(detail)
	if err != nil {
		return nil, err
	}
	by, now := personOf(r), f.now().UTC()
	p := journal.Proposal{What: what, Subject: subject, Note: note, By: by.Name, ByID: by.ID, At: now, Until: now.Add(f.cfg.ProposalsFor), Body: raw}
	if f.cfg.Approvers == 1 {
		if err := f.carryOut(r.Context(), p, "", now); err != nil {
			return nil, err
		}
		return map[string]any{"done": true}, nil
	}
	if f.store.journal == nil {
		return nil, errNoStore
	}
	if p, err = f.store.journal.Propose(r.Context(), p); err != nil {
		return nil, err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusAccepted)
	return map[string]any{"proposal": p}, nil
}

// carryOut makes a change. It may run again after a crash, so every change is
// idempotent. approved is who approved it at the time at; it is empty if one person
// is enough.
func (f *Function) carryOut(ctx context.Context, p journal.Proposal, approved string, at time.Time) error {
	by, j := &access.Person{Name: p.By, ID: p.ByID}, f.store.journal
	switch p.What {
	case journal.ProposePromote, journal.ProposeRollback:
		return f.makeLive(ctx, by, p, approved)
	case journal.ProposePolicy:
		return f.putPolicy(ctx, by, p, approved)
	}
	if j == nil {
		return errNoStore
	}
	switch p.What {
	case journal.ProposeSwitchOff:
		change := journal.SwitchChange{Switch: p.Subject, By: p.By, Reason: p.Note, At: at, Approved: approved}
		if err := j.TurnOff(ctx, change, p.At); err != nil {
			return refused(err, journal.ErrStoppedAnew)
		}
		f.tellTurned(ctx, change)
		return nil
	case journal.ProposeLearned: // the command that proposed it has checked the gate
		return refused(j.PromoteLearned(ctx, p.Subject, []string{p.By, approved}, p.Note, at), journal.ErrPromotedAnew)
	}
	return fmt.Errorf("%w: this console does not know how to make %q", errConflict, p.What)
}

// noteOf is a proposal's note with who approved it.
func noteOf(p journal.Proposal, approved string) string {
	if approved == "" {
		return p.Note
	}
	return strings.TrimSpace(p.Note + " (approved by " + approved + ")")
}

// refused marks err as a conflict if it is no: the change must be proposed again.
func refused(err, no error) error {
	if errors.Is(err, no) {
		return fmt.Errorf("%w: %w", errConflict, err)
	}
	return err
}

// finishFor bounds carrying out a change. It is less than the time for which an
// approval belongs to the process that claimed it.
const finishFor = journal.ClaimFor / 3

// finish carries out an approved change. If that fails, it puts the proposal back with
// the reason. If this process dies in between, a console finishes the change.
func (f *Function) finish(ctx context.Context, a *journal.Approval) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishFor)
	defer cancel()
	if err := f.carryOut(ctx, a.Proposal, a.SettledBy, a.Settled); err != nil {
		return errors.Join(err, f.store.journal.PutBack(ctx, a, err.Error(), f.now().UTC()))
	}
	return f.store.journal.Finished(ctx, a)
}

// finishOthers carries out approved changes that a process has left unfinished when it
// died, and those that a command left to the console.
func (f *Function) finishOthers(ctx context.Context) error {
	waiting, err := f.store.journal.Unfinished(ctx, f.now().UTC())
	for _, a := range waiting {
		if err := f.finish(ctx, a); err != nil && ctx.Err() == nil {
			f.Log.Warn("an approved change could not be made", zap.String("proposal", a.ID), zap.Error(err))
		}
	}
	return err
}

// tellTurned tells consuming teams that a switch was turned. The switch acts without
// the event.
func (f *Function) tellTurned(ctx context.Context, c journal.SwitchChange) {
	what, name, _ := strings.Cut(c.Switch, "/")
	err := f.send(ctx, event.TypeSwitchTurned, c.Switch, newID(), event.SwitchTurned{What: what, Name: name, On: c.On, By: c.By, Reason: c.Reason})
	if err != nil {
		f.Log.Warn("a kill switch was turned, but the event about it was not sent", zap.Error(err))
	}
}

// proposalView is a proposal as the page shows it.
type proposalView struct {
	journal.Proposal
	Role access.Role `json:"role"` // the role that approves it
	Mine bool        `json:"mine"` // the reader proposed it
}

func (f *Function) listProposals(w http.ResponseWriter, r *http.Request) (any, error) {
	out := []proposalView{}
	all, err := f.proposals(r.Context())
	if err != nil {
		return nil, err
	}
	who := personOf(r)
	for _, p := range all {
		out = append(out, proposalView{p, roleFor[p.What], p.SamePerson(who.Name, who.ID)})
	}
	return map[string]any{"proposals": out, "approvers": f.cfg.Approvers, "kept": f.cfg.ProposalsFor.Seconds()}, nil
}

func (f *Function) proposals(ctx context.Context) ([]journal.Proposal, error) {
	if f.store.journal == nil {
		return nil, nil
	}
	return f.store.journal.Proposals(ctx, f.now())
}

// settle approves or withdraws a proposal.
func (f *Function) settle(verdict string) handler {
	return func(_ http.ResponseWriter, r *http.Request) (any, error) {
		who, j := personOf(r), f.store.journal
		p, err := j.FindProposal(r.Context(), r.PathValue("id"), f.now())
		if errors.Is(err, journal.ErrNotFound) {
			return nil, &problem{http.StatusNotFound, "id: " + err.Error()}
		}
		if err != nil {
			return nil, err
		}
		if role := roleFor[p.What]; !who.Everywhere(role) {
			return nil, lacks(who, role)
		}
		a, err := j.Settle(r.Context(), p, verdict, who.Name, who.ID, f.now().UTC())
		switch {
		case errors.Is(err, journal.ErrSamePerson):
			err = forbidden("another person than " + p.By + " approves this")
		case errors.Is(err, journal.ErrNotFound):
			err = &problem{http.StatusConflict, err.Error()}
		case err == nil && a != nil:
			err = f.finish(r.Context(), a)
		}
		return map[string]any{"settled": p.ID, "verdict": verdict}, err
	}
}

// takeProposals counts the proposals that wait, for the page's badge, and finishes
// changes that others left.
func (f *Function) takeProposals(ctx context.Context) error {
	all, err := f.proposals(ctx)
	if err != nil {
		return err
	}
	f.proposed.Store(int64(len(all)))
	return f.finishOthers(ctx)
}
