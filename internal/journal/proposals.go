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

// What loosens or changes a running system takes two people: one proposes, another
// approves. Stopping something takes one.

// Proposal is a change that waits for a second person.
type Proposal struct {
	ID      string         `json:"id"`
	What    string         `json:"what"` // ProposeSwitchOff, …
	Subject string         `json:"subject"`
	Note    string         `json:"note"` // why
	By      string         `json:"by"`
	ByID    string         `json:"by_id,omitzero"` // the OIDC subject
	At      time.Time      `json:"at"`
	Until   time.Time      `json:"until"`          // then it is gone
	Body    jsontext.Value `json:"body,omitempty"` // what the change needs to be made
	// Failed says why it could not be made when it was approved last.
	Failed string `json:"failed,omitzero"`
}

// What can be proposed.
const (
	ProposeSwitchOff = "switch.off"
	ProposePromote   = "model.promote"
	ProposeRollback  = "model.rollback"
	ProposePolicy    = "policy.change"
	ProposeLearned   = "learned.promote" // the subject is the learned policy's hash
)

// Settlement is what became of a proposal, as the journal has it.
type Settlement struct {
	Proposal
	Verdict   string    `json:"verdict"` // approved | withdrawn | failed
	Settled   time.Time `json:"settled"`
	SettledBy string    `json:"settled_by"`
	SettledID string    `json:"settled_id,omitzero"`
}

// What becomes of a proposal.
const (
	Approved  = "approved"
	Withdrawn = "withdrawn"
	Failed    = "failed" // approved, and could not be made: it waits again
)

const (
	proposalsKey = "{ops}:proposals" // hash, by id
	approversKey = "{ops}:approvers"
)

// ErrSamePerson refuses an approval by whoever proposed.
var ErrSamePerson = errors.New("journal: a change is approved by another person than the one who proposed it")

// SetApprovers says how many people a change takes: one or two.
func (j *Journal) SetApprovers(ctx context.Context, n int) error {
	return j.setJSON(ctx, "approvers", approversKey, n)
}

// Approvers is how many people a change takes; two unless somebody said one.
func (j *Journal) Approvers(ctx context.Context) (int, error) {
	n := 2
	_, err := j.getJSON(ctx, "approvers", approversKey, &n)
	return n, err
}

// Propose journals a proposal and lets it wait. It returns it with its id.
func (j *Journal) Propose(ctx context.Context, p Proposal) (Proposal, error) {
	p.ID = strings.ToLower(rand.Text()[:12])
	if err := j.recordJSON(ctx, "propose", KindPropose, p.At, p); err != nil {
		return p, err
	}
	return p, j.restore(ctx, p)
}

// Proposals lists those that wait, the oldest first. Expired ones are removed.
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

// FindProposal returns a proposal that waits.
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

// Settle takes a proposal off the list, once, and journals by whom. The caller
// carries out what was approved and says so ([Journal.Finished]), or that it can't be
// done ([Journal.PutBack]), or leaves it to another process ([Journal.HandOver]). Of
// what is withdrawn there is no approval.
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

// restore lets a proposal wait, or wait again.
func (j *Journal) restore(ctx context.Context, p Proposal) error {
	raw, err := json.Marshal(p)
	if err == nil {
		err = j.rdb.HSet(ctx, proposalsKey, p.ID, raw).Err()
	}
	return failed("proposal", err)
}

// SamePerson reports whether somebody made the proposal. Where both have an OIDC
// subject it is compared: names change hands.
func (p *Proposal) SamePerson(by, byID string) bool {
	if p.ByID != "" && byID != "" {
		return p.ByID == byID
	}
	return strings.EqualFold(strings.TrimSpace(p.By), strings.TrimSpace(by))
}
