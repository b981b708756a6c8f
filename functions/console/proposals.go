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
	"pitboss/internal/repeat"
)

// Four eyes: what loosens or changes a running system is proposed by one person
// and made when another approves it. Where the console is set to one person
// (PITBOSS_APPROVERS=1), it is made at once.

// startProposals tells the commands, too, how many people a change takes. Where
// Redis can't be reached they ask for two.
func (f *Function) startProposals(ctx context.Context) error {
	if n := f.cfg.Approvers; n != 1 && n != 2 {
		return fmt.Errorf("console: PITBOSS_APPROVERS is %d: a change takes 1 person or 2", n)
	}
	if f.store.journal == nil {
		return nil
	}
	if err := f.store.journal.SetApprovers(ctx, f.cfg.Approvers); err != nil {
		f.Log.Warn("the commands are not told how many people a change takes", zap.Error(err))
	}
	return nil
}

// roleFor is the role that proposes, approves and withdraws a kind of change.
var roleFor = map[string]access.Role{
	journal.ProposeSwitchOff: access.Compliance, journal.ProposePolicy: access.Compliance,
	journal.ProposePromote: access.Operator, journal.ProposeRollback: access.Operator, journal.ProposeLearned: access.Operator,
}

// propose lets a change wait for a second person, or makes it.
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

// carryOut makes a change; it may be made again after a crash. approved is by whom,
// empty where one person is enough, and at is when.
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
	case journal.ProposeLearned: // proposed by the command, which has held it against the gate
		return refused(j.PromoteLearned(ctx, p.Subject, []string{p.By, approved}, p.Note, at), journal.ErrPromotedAnew)
	}
	return fmt.Errorf("%w: this console does not know how to make %q", errConflict, p.What)
}

// refused marks an error that says no for good: the change is to be proposed anew.
func refused(err, no error) error {
	if errors.Is(err, no) {
		return fmt.Errorf("%w: %w", errConflict, err)
	}
	return err
}

// finishFor is how long carrying out a change may take: less than an approval is
// left to who claimed it.
const finishFor = journal.ClaimFor / 3

// finish carries out what was approved, or lets it wait again and says why. Should
// this process die on the way, a console finishes it.
func (f *Function) finish(ctx context.Context, a *journal.Approval) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishFor)
	defer cancel()
	if err := f.carryOut(ctx, a.Proposal, a.SettledBy, a.Settled); err != nil {
		return errors.Join(err, f.store.journal.PutBack(ctx, a, err.Error(), f.now().UTC()))
	}
	return f.store.journal.Finished(ctx, a)
}

// finishOthers carries out what was approved by a process that died meanwhile, or
// by a command that left it to the console.
func (f *Function) finishOthers(ctx context.Context) {
	if f.store.journal == nil {
		return
	}
	waiting, err := f.store.journal.Unfinished(ctx, f.now().UTC())
	for _, a := range waiting {
		err = errors.Join(err, f.finish(ctx, a))
	}
	if err != nil && ctx.Err() == nil {
		f.Log.Warn("a change that was approved could not be made", zap.Error(err))
	}
}

// tellTurned tells consuming teams of a switch. It acts without the event.
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
	Role access.Role `json:"role"` // that approves it
	Mine bool        `json:"mine"` // who asks proposed it
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
		if f.store.journal == nil {
			return nil, errNoStore
		}
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

// followProposals keeps how many wait, for the page's badge, and finishes what
// others left.
func (f *Function) followProposals(ctx context.Context, every time.Duration) {
	for range repeat.Now(ctx, every) {
		if all, err := f.proposals(ctx); err == nil {
			f.proposed.Store(int64(len(all)))
		}
		f.finishOthers(ctx)
	}
}
