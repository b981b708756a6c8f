package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

var errDied = errors.New("the process died")

// dying is a connection of a process that dies at one of its commands: before
// Redis has it, or with the reply on its way. Whatever comes later fails, too.
type dying struct {
	at, n atomic.Int64
	reply bool // it is the reply that is lost
}

func (d *dying) DialHook(next redis.DialHook) redis.DialHook { return next }

func (d *dying) do(send func() error) error {
	switch n := d.n.Add(1) - 1; {
	case n < d.at.Load():
		return send()
	case n == d.at.Load() && d.reply:
		_ = send()
	}
	return errDied
}

func (d *dying) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := d.do(func() error { return next(ctx, cmd) })
		if errors.Is(err, errDied) {
			cmd.SetErr(err)
		}
		return err
	}
}

func (d *dying) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := d.do(func() error { return next(ctx, cmds) })
		if errors.Is(err, errDied) {
			for _, c := range cmds {
				c.SetErr(err)
			}
		}
		return err
	}
}

// change is one that is proposed, approved and carried out.
type carried struct {
	what, subject string
	prepare       func(t *testing.T, j *Journal)
	carryOut      func(ctx context.Context, j *Journal, a *Approval) error
	made          func(t *testing.T, j *Journal) bool
	kind          string // of the entry that tells that it was made
}

var carriedOut = []carried{
	{ProposeSwitchOff, "rule/GB-DM",
		func(t *testing.T, j *Journal) {
			if err := j.Turn(t.Context(), SwitchChange{Switch: "rule/GB-DM", On: true, By: "anna", At: noon.Add(-time.Hour)}); err != nil {
				t.Fatal(err)
			}
		},
		func(ctx context.Context, j *Journal, a *Approval) error {
			return j.TurnOff(ctx, SwitchChange{Switch: a.Subject, By: a.By, At: a.Settled, Approved: a.SettledBy}, a.At)
		},
		func(t *testing.T, j *Journal) bool {
			on, err := j.Switches(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return len(on) == 0
		}, KindSwitch},
	{ProposeLearned, "abc",
		func(t *testing.T, j *Journal) {
			if err := j.KeepDocument(t.Context(), "abc", []byte("{}")); err != nil {
				t.Fatal(err)
			}
		},
		func(ctx context.Context, j *Journal, a *Approval) error {
			return j.PromoteLearned(ctx, a.Subject, []string{a.By, a.SettledBy}, a.Note, a.Settled)
		},
		func(t *testing.T, j *Journal) bool {
			p, err := j.Promoted(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return p.Snapshot == "abc" && p.Before == ""
		}, KindLearned},
}

// Wherever the process that approves a change dies, the change is not approved, or
// it is, that is journaled, and it is carried out by the next.
func TestAnApprovedChangeIsMadeWhereverAProcessDies(t *testing.T) {
	t.Parallel()
	for _, c := range carriedOut {
		for _, reply := range []bool{false, true} {
			approved := 0
			for at := int64(0); ; at++ {
				if at == 50 {
					t.Fatal("it takes so many commands?")
				}
				whole := c.dieAt(t, at, reply, &approved)
				if whole {
					break
				}
			}
			if approved < 3 {
				t.Errorf("%s: only %d deaths came after the approval: the test can't fail", c.what, approved)
			}
		}
	}
}

// dieAt lets the process die at its at-th command; true: it has fewer.
func (c *carried) dieAt(t *testing.T, at int64, reply bool, approved *int) bool {
	t.Helper()
	addr := miniredis.RunT(t).Addr()
	client := func() *redis.Client {
		rdb := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1})
		t.Cleanup(func() { _ = rdb.Close() })
		return rdb
	}
	j := New(client(), 1)
	c.prepare(t, j)
	p, err := j.Propose(t.Context(), Proposal{What: c.what, Subject: c.subject, By: "anna", At: noon, Until: noon.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	mortal, d := client(), &dying{reply: reply}
	d.at.Store(at)
	mortal.AddHook(d)
	first := New(mortal, 1)
	a, err := first.Settle(t.Context(), p, Approved, "bert", "", noon.Add(time.Minute))
	if err == nil {
		if err = c.carryOut(t.Context(), first, a); err == nil {
			err = first.Finished(t.Context(), a)
		}
	}
	whole := err == nil
	where := fmt.Sprintf("%s, dead at command %d (reply lost: %v)", c.what, at, reply)

	second := New(client(), 1)
	if early, err := second.Unfinished(t.Context(), noon.Add(time.Minute+ClaimFor/2)); err != nil || len(early) > 0 {
		t.Fatalf("%s: %d approvals are taken from who has them, %v", where, len(early), err)
	}
	left, err := second.Unfinished(t.Context(), noon.Add(2*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range left {
		if err := c.carryOut(t.Context(), second, a); err != nil {
			t.Fatalf("%s: %v", where, err)
		}
		if err := second.Finished(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	waits, err := second.Proposals(t.Context(), noon.Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	if len(waits) == 1 {
		if c.made(t, second) || len(left) > 0 {
			t.Errorf("%s: the change was made and waits", where)
		}
		return whole
	}
	*approved++
	if !c.made(t, second) {
		t.Errorf("%s: the change was approved and is not made", where)
	}
	if open, err := second.Approved(t.Context(), p.ID); err != nil || open {
		t.Errorf("%s: it is still to be carried out: %v", where, err)
	}
	c.journaled(t, second, where)
	return whole
}

// journaled checks that the journal has the approval before the change.
func (c *carried) journaled(t *testing.T, j *Journal, where string) {
	t.Helper()
	settled, made := 0, 0
	err := j.Each(t.Context(), Ops, 0, true, func(e *Entry) error {
		switch e.Kind {
		case KindSettle:
			var s Settlement
			if err := json.Unmarshal(e.Open, &s); err != nil || s.Verdict != Approved {
				return fmt.Errorf("%w: %s", err, e.Open)
			}
			settled++
		case c.kind:
			if e.Time.After(noon) { // not what prepares it
				made++
				if settled == 0 {
					t.Errorf("%s: the change stands before its approval", where)
				}
			}
		}
		return nil
	})
	if err != nil || settled == 0 || made == 0 {
		t.Errorf("%s: %d approvals and %d changes are journaled, %v", where, settled, made, err)
	}
	if v, err := j.Verify(t.Context(), Segments{}); err != nil || len(v.Findings) > 0 {
		t.Errorf("%s: %+v %v", where, v, err)
	}
}

// A stop, a promotion or a rollback of later stands against what was approved before.
func TestWhatCameLaterIsNotUndone(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, rdb redis.UniversalClient) {
		j := New(rdb, 1)
		for n, c := range carriedOut {
			c.prepare(t, j)
			p, err := j.Propose(t.Context(), Proposal{What: c.what, Subject: c.subject, By: "anna", At: noon, Until: noon.Add(time.Hour)})
			if err != nil {
				t.Fatal(err)
			}
			if _, err = j.Settle(t.Context(), p, Approved, "bert", "", noon.Add(time.Minute+time.Duration(n))); err != nil {
				t.Fatal(err)
			}
		}
		later := noon.Add(2 * time.Minute)
		err := errors.Join(j.Turn(t.Context(), SwitchChange{Switch: "rule/GB-DM", On: true, By: "carl", At: later}),
			j.KeepDocument(t.Context(), "def", []byte("{}")), j.PromoteLearned(t.Context(), "def", []string{"x", "y"}, "", later))
		if err != nil {
			t.Fatal(err)
		}
		left, err := j.Unfinished(t.Context(), later)
		if err != nil || len(left) != 2 {
			t.Fatalf("%d left, %v", len(left), err)
		}
		for i, want := range []error{ErrStoppedAnew, ErrPromotedAnew} {
			if err := carriedOut[i].carryOut(t.Context(), j, left[i]); !errors.Is(err, want) {
				t.Errorf("%s: %v", carriedOut[i].what, err)
			}
			if err := j.PutBack(t.Context(), left[i], "overtaken", later); err != nil {
				t.Fatal(err)
			}
		}
		waits, err := j.Proposals(t.Context(), later)
		if err != nil || len(waits) != 2 || waits[0].Failed != "overtaken" {
			t.Errorf("%+v %v", waits, err)
		}
		if left, err = j.Unfinished(t.Context(), later.Add(time.Hour)); err != nil || len(left) > 0 {
			t.Errorf("%d are tried again, %v", len(left), err)
		}
	})
}

// Two consoles do not carry out the same approval.
func TestAnApprovalIsClaimedOnce(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, rdb redis.UniversalClient) {
		j := New(rdb, 1)
		p, err := j.Propose(t.Context(), Proposal{What: ProposePolicy, By: "anna", At: noon, Until: noon.Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		a, err := j.Settle(t.Context(), p, Approved, "bert", "", noon)
		if err == nil {
			err = j.HandOver(t.Context(), a)
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := j.Settle(t.Context(), p, Approved, "carl", "", noon); !errors.Is(err, ErrNotFound) {
			t.Errorf("approved twice: %v", err)
		}
		var claimed atomic.Int64
		done := make(chan error, 8)
		for range cap(done) {
			go func() {
				got, err := New(rdb, 1).Unfinished(context.Background(), noon)
				claimed.Add(int64(len(got)))
				done <- err
			}()
		}
		for range cap(done) {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if claimed.Load() != 1 {
			t.Errorf("claimed %d times", claimed.Load())
		}
	})
}
