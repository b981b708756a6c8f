package journal

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// A change that loosens or alters a running system takes two people: one proposes it, and
// another approves it. To stop something takes one person.

// Proposal is a change that waits for the approval of a second person.
type Proposal struct {
	ID      string         `json:"id"`
	What    string         `json:"what"` // ProposeSwitchOff, …
	Subject string         `json:"subject"`
	Note    string         `json:"note"` // why
	By      string         `json:"by"`
	ByID    string         `json:"by_id,omitzero"` // the OIDC subject
	At      time.Time      `json:"at"`
	Until   time.Time      `json:"until"`          // when it expires
	Body    jsontext.Value `json:"body,omitempty"` // the data for carrying it out
	// Failed says why the change could not be carried out after the last approval.
	Failed string `json:"failed,omitzero"`
}

// The kinds of proposals.
const (
	ProposeSwitchOff = "switch.off"
	ProposePromote   = "model.promote"
	ProposeRollback  = "model.rollback"
	ProposePolicy    = "policy.change"
	ProposeLearned   = "learned.promote" // the subject is the learned policy's hash
)

// Settlement is the end of a proposal, as it is in the journal.
type Settlement struct {
	Proposal
	Verdict   string    `json:"verdict"` // approved | withdrawn | failed
	Settled   time.Time `json:"settled"`
	SettledBy string    `json:"settled_by"`
	SettledID string    `json:"settled_id,omitzero"`
}

// The verdicts of a Settlement.
const (
	Approved  = "approved"
	Withdrawn = "withdrawn"
	Failed    = "failed" // approved, but could not be carried out: it waits again
)

const (
	proposalsKey = "{ops}:proposals" // hash, by id
	approversKey = "{ops}:approvers"
)

// ErrSamePerson refuses an approval by the person who proposed the change.
var ErrSamePerson = errors.New("journal: a change is approved by another person than the one who proposed it")

// SetApprovers sets how many people a change takes: one or two.
func (j *Journal) SetApprovers(ctx context.Context, n int) error {
	return j.setJSON(ctx, "approvers", approversKey, n)
}

// Approvers returns how many people a change takes. The default is two.
func (j *Journal) Approvers(ctx context.Context) (int, error) {
	n := 2
	_, err := j.getJSON(ctx, "approvers", approversKey, &n)
	return n, err
}

// Propose journals a proposal, stores it, and returns it with its id.
func (j *Journal) Propose(ctx context.Context, p Proposal) (Proposal, error) {
	p.ID = strings.ToLower(rand.Text()[:12])
	if err := j.recordJSON(ctx, "propose", KindPropose, p.At, p); err != nil {
		return p, err
	}
	return p, j.restore(ctx, p)
}

// Proposals lists the waiting proposals, the oldest first, and removes expired ones.
func (j *Journal) Proposals(ctx context.Context, now time.Time) ([]Proposal, error) {
	all, err := j.rdb.HGetAll(ctx, proposalsKey).Result()
	if err != nil {
		return nil, failed("proposals", err)
	}
	var out []Proposal
	for id, raw := range all {
		var p Proposal
		if err := json.Unmarshal([]byte(raw), &p); err != nil || !now.Before(p.Until) {
			if err := j.rdb.HDel(ctx, proposalsKey, id).Err(); err != nil {
				return nil, failed("proposals", err)
			}
			continue
		}
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b Proposal) int { return a.At.Compare(b.At) })
	return out, nil
}

// FindProposal returns a waiting proposal.
func (j *Journal) FindProposal(ctx context.Context, id string, now time.Time) (Proposal, error) {
	all, err := j.Proposals(ctx, now)
	if err != nil {
		return Proposal{}, err
	}
	n := slices.IndexFunc(all, func(p Proposal) bool { return p.ID == id })
	if n < 0 {
		return Proposal{}, fmt.Errorf("%w: proposal %s (settled, expired, or never made)", ErrNotFound, id)
	}
	return all[n], nil
}

// Settle approves or withdraws a waiting proposal, once, and journals who did so. The
// caller must carry out an approval and then call [Journal.Finished], or [Journal.PutBack]
// if the change can't be carried out, or [Journal.HandOver] to leave it to another
// process. For a withdrawal the returned Approval is nil.
func (j *Journal) Settle(ctx context.Context, p Proposal, verdict, by, byID string, now time.Time) (*Approval, error) {
	s := Settlement{Proposal: p, Verdict: verdict, Settled: now, SettledBy: by, SettledID: byID}
	if verdict == Approved {
		if p.SamePerson(by, byID) {
			return nil, ErrSamePerson
		}
		a := &Approval{Settlement: s, Claimed: now}
		return a, j.approve(ctx, a)
	}
	n, err := j.rdb.HDel(ctx, proposalsKey, p.ID).Result()
	if err != nil {
		return nil, failed("settle", err)
	}
	if n == 0 {
		return nil, fmt.Errorf("%w: proposal %s was settled by somebody else", ErrNotFound, p.ID)
	}
	if err := j.recordSettlement(ctx, s); err != nil {
		return nil, errors.Join(err, j.restore(ctx, p))
	}
	return nil, nil
}

// restore stores a waiting proposal.
func (j *Journal) restore(ctx context.Context, p Proposal) error {
	raw, err := json.Marshal(p)
	if err == nil {
		err = j.rdb.HSet(ctx, proposalsKey, p.ID, raw).Err()
	}
	return failed("proposal", err)
}

// SamePerson reports whether that person made the proposal. It compares the OIDC subjects
// if both are known, because names can be reassigned, and the names otherwise.
func (p *Proposal) SamePerson(by, byID string) bool {
	if p.ByID != "" && byID != "" {
		return p.ByID == byID
	}
	return strings.EqualFold(strings.TrimSpace(p.By), strings.TrimSpace(by))
}
