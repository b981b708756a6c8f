package journal

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"pitboss/internal/redisdb"
)

// An approved change is carried out by the process in which it was approved: the console
// or a command. If that process dies halfway, the console finds the unfinished approval
// and carries it out again. So every change must be idempotent.

//go:embed lua/swap.lua
var swapLua string

var swapScript = redisdb.NewScript(swapLua)

const approvedKey = "{ops}:approved" // hash of approvals that are not carried out yet, by id

// ClaimFor is how long a claim to an approval lasts.
const ClaimFor = 30 * time.Second

// Approval is a proposal that was approved and not yet carried out.
type Approval struct {
	Settlement
	Claimed   time.Time `json:"claimed"` // zero: not claimed
	Journaled bool      `json:"journaled,omitzero"`

	raw string // the value in Redis
}

// swap moves a field from one hash of {ops} to another, or to the same one with a new
// value. It returns false and changes nothing if the field's value is not was.
func (j *Journal) swap(ctx context.Context, from, to, field, was, is string) (bool, error) {
	n, err := j.run.Run(ctx, swapScript, []string{from, to}, field, was, is)
	return n == int64(1), err
}

// approve moves a proposal to the approvals, in one atomic step, and then journals who
// approved it.
func (j *Journal) approve(ctx context.Context, a *Approval) error {
	raw, err := json.Marshal(a)
	if err != nil {
		return failed("approve", err)
	}
	ok, err := j.swap(ctx, proposalsKey, approvedKey, a.ID, "", string(raw))
	if err != nil {
		return failed("approve", err)
	}
	if !ok {
		return fmt.Errorf("%w: proposal %s was settled by somebody else", ErrNotFound, a.ID)
	}
	a.raw = string(raw)
	if err := j.journalApproval(ctx, a); err != nil {
		return errors.Join(err, j.wait(ctx, a, a.Proposal))
	}
	return nil
}

// wait moves a proposal from the approvals back to the proposals.
func (j *Journal) wait(ctx context.Context, a *Approval, p Proposal) error {
	raw, err := json.Marshal(p)
	if err == nil {
		_, err = j.swap(ctx, approvedKey, proposalsKey, a.ID, a.raw, string(raw))
	}
	return failed("put back", err)
}

// journalApproval journals who approved, before the change is carried out.
func (j *Journal) journalApproval(ctx context.Context, a *Approval) error {
	if a.Journaled {
		return nil
	}
	if err := j.recordSettlement(ctx, a.Settlement); err != nil {
		return err
	}
	next := *a
	next.Journaled = true
	return j.update(ctx, a, &next)
}

func (j *Journal) recordSettlement(ctx context.Context, s Settlement) error {
	return j.recordJSON(ctx, "settle", KindSettle, s.Settled, s)
}

// errTaken means that another process has claimed the approval.
var errTaken = errors.New("journal: another process carries the approval out")

// update replaces an approval by its next state. The error is errTaken if another process
// has changed it.
func (j *Journal) update(ctx context.Context, a, next *Approval) error {
	raw, err := json.Marshal(next)
	if err != nil {
		return failed("approval", err)
	}
	ok, err := j.swap(ctx, approvedKey, approvedKey, a.ID, a.raw, string(raw))
	switch {
	case err != nil:
		return failed("approval", err)
	case !ok:
		return errTaken
	}
	*a = *next
	a.raw = string(raw)
	return nil
}

// HandOver gives up the claim to an approval, so that [Journal.Unfinished] returns it to
// the next process that asks.
func (j *Journal) HandOver(ctx context.Context, a *Approval) error {
	next := *a
	next.Claimed = time.Time{}
	return j.update(ctx, a, &next)
}

// Finished removes an approval that was carried out.
func (j *Journal) Finished(ctx context.Context, a *Approval) error {
	return failed("approval", j.rdb.HDel(ctx, approvedKey, a.ID).Err())
}

// PutBack returns an approved proposal that can't be carried out to the proposals, and
// journals why.
func (j *Journal) PutBack(ctx context.Context, a *Approval, why string, now time.Time) error {
	p := a.Proposal
	p.Failed = why
	if err := j.wait(ctx, a, p); err != nil {
		return err
	}
	failed := a.Settlement
	failed.Proposal, failed.Verdict, failed.Settled = p, Failed, now
	return j.recordSettlement(ctx, failed)
}

// Unfinished claims and returns the approvals without a valid claim, the oldest first.
func (j *Journal) Unfinished(ctx context.Context, now time.Time) ([]*Approval, error) {
	all, err := j.approvals(ctx)
	if err != nil {
		return nil, err
	}
	var out []*Approval
	for _, a := range all {
		if now.Sub(a.Claimed) < ClaimFor {
			continue
		}
		next := *a
		next.Claimed = now
		err := j.update(ctx, a, &next)
		if err == nil {
			err = j.journalApproval(ctx, a)
		}
		if errors.Is(err, errTaken) {
			continue
		}
		if err != nil {
			return out, err
		}
		out = append(out, a)
	}
	return out, nil
}

// Approved reports whether an approval is still to be carried out.
func (j *Journal) Approved(ctx context.Context, id string) (bool, error) {
	all, err := j.approvals(ctx)
	return slices.ContainsFunc(all, func(a *Approval) bool { return a.ID == id }), err
}

func (j *Journal) approvals(ctx context.Context) ([]*Approval, error) {
	all, err := j.rdb.HGetAll(ctx, approvedKey).Result()
	if err != nil {
		return nil, failed("approvals", err)
	}
	var out []*Approval
	for id, raw := range all {
		a := &Approval{raw: raw}
		if err := json.Unmarshal([]byte(raw), a); err != nil {
			return nil, fmt.Errorf("journal: approval %s: %w", id, err)
		}
		out = append(out, a)
	}
	slices.SortFunc(out, func(a, b *Approval) int { return a.Settled.Compare(b.Settled) })
	return out, nil
}
