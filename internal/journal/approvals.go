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

// A change that was approved is carried out by whoever approved it: the console,
// or a command. Should that process die on the way, the console finds the
// approval unfinished and carries it out again, so whatever a change does must
// be the same when done twice.

//go:embed lua/swap.lua
var swapLua string

var swapScript = redisdb.NewScript(swapLua)

const approvedKey = "{ops}:approved" // hash of approvals that are not carried out yet, by id

// ClaimFor is how long an approval is left to whoever claimed it last.
const ClaimFor = 30 * time.Second

// Approval is a proposal that was approved and not yet carried out.
type Approval struct {
	Settlement
	Claimed   time.Time `json:"claimed"` // zero: by nobody
	Journaled bool      `json:"journaled,omitzero"`

	raw string // as Redis has it
}

// swap moves a field between hashes of {ops}; false: it is not what it was.
func (j *Journal) swap(ctx context.Context, from, to, field, was, is string) (bool, error) {
	n, err := j.run.Run(ctx, swapScript, []string{from, to}, field, was, is)
	return n == int64(1), err
}

// approve takes a proposal off the list and keeps that it was approved until it is
// carried out, in one step, and then journals by whom.
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

// wait puts a proposal from among the approvals back on the list.
func (j *Journal) wait(ctx context.Context, a *Approval, p Proposal) error {
	raw, err := json.Marshal(p)
	if err == nil {
		_, err = j.swap(ctx, approvedKey, proposalsKey, a.ID, a.raw, string(raw))
	}
	return failed("put back", err)
}

// journalApproval journals who approved, before anything is carried out.
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

// errTaken: another process has the approval now.
var errTaken = errors.New("journal: another process carries the approval out")

// update replaces an approval by what becomes of it.
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

// HandOver leaves an approval to the next process that asks for unfinished ones.
func (j *Journal) HandOver(ctx context.Context, a *Approval) error {
	next := *a
	next.Claimed = time.Time{}
	return j.update(ctx, a, &next)
}

// Finished forgets an approval that was carried out.
func (j *Journal) Finished(ctx context.Context, a *Approval) error {
	return failed("approval", j.rdb.HDel(ctx, approvedKey, a.ID).Err())
}

// PutBack lets a proposal wait again that was approved and can't be carried out,
// and journals why not.
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

// Unfinished claims the approvals that nobody is carrying out, the oldest first.
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

// Approved reports whether an approval still has to be carried out.
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
