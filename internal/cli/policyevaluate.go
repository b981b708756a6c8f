package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"pitboss/internal/journal"
	"pitboss/internal/learn"
	"pitboss/internal/policy"
)

// policyCmd is `pitboss policy`.
func policyCmd() *cobra.Command {
	o := &oversight{}
	cmd := &cobra.Command{Use: "policy", Short: "evaluate learned policies, put them into force, and roll them back"}
	o.flags(cmd)
	cmd.AddCommand(policySnapshotCmd(o), policyEvaluateCmd(o), policyShadowCmd(o), policyPromoteCmd(o), policyRollbackCmd(o), policyStatusCmd(o), upliftCmd(o))
	return cmd
}

// policySnapshotCmd is `pitboss policy snapshot`.
func policySnapshotCmd(o *oversight) *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use: "snapshot", Short: "write what is learned now to a file as a candidate, and store it in the journal under its hash", Args: cobra.NoArgs,
		RunE: o.connected(func(cmd *cobra.Command, _ []string) error {
			spec, err := o.learning()
			if err != nil {
				return err
			}
			actions, err := o.journal.LearnedBy(cmd.Context(), spec, time.Now())
			if err != nil {
				return err
			}
			text, hash, err := (&learn.Snapshot{Spec: *spec, Actions: actions, Made: time.Now().UTC().Truncate(time.Second)}).Text()
			if err != nil {
				return err
			}
			if err := o.journal.KeepDocument(cmd.Context(), hash, text); err != nil {
				return err
			}
			out = cmp.Or(out, "learned-"+hash+".json")
			if err := os.WriteFile(out, text, 0o644); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: learned policy %s of %d actions\n", out, hash, len(actions))
			return nil
		}),
	}
	cmd.Flags().StringVar(&out, "out", "", "file to write; default learned-HASH.json")
	return cmd
}

// learning reads learning.yaml of the models folder.
func (o *oversight) learning() (*learn.Spec, error) {
	spec, err := learn.ReadSpec(o.models + "/learning.yaml")
	if err == nil && spec == nil {
		err = fmt.Errorf("policy: %s has no learning.yaml: nothing is learned", o.models)
	}
	return spec, err
}

// candidate reads a learned policy from a file, or from the journal by its hash.
func (o *oversight) candidate(ctx context.Context, name string) (*learn.Model, error) {
	text, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) && !strings.ContainsAny(name, "./") {
		text, err = o.journal.Document(ctx, name)
	}
	if err != nil {
		return nil, err
	}
	return learn.Parse(text)
}

// policyEvaluateCmd is `pitboss policy evaluate`.
func policyEvaluateCmd(o *oversight) *cobra.Command {
	var since time.Duration
	var against, as string
	gate := policy.DefaultGate
	cmd := &cobra.Command{
		Use: "evaluate CANDIDATE", Short: "estimate what a learned policy (a file or a hash) would have earned, against the one in force", Args: cobra.ExactArgs(1),
		Long: `Takes the journal's randomised decisions and lets the candidate choose again among the actions that rules, caps and protection left. It
weighs each outcome by how much likelier the candidate was to choose it, and prints IPS, SNIPS and doubly robust estimates with 95 %
intervals, and the effective sample size. The rewards are those of learning.yaml.

Only decisions after the candidate was made count, since those that it learned from would flatter it. Their outcomes must be complete:
the window of learning.yaml and the 24 hours in which harm is looked for must be over. Decisions of erased players do not count; those
in segments count with --segments.

The gate: the candidate may be promoted only if the lower bound of its reward minus that of the policy in force is above 0, and no guard
rail (new markers of harm within 24 hours, messages dismissed) has an upper bound of more than --margin above that of the policy in
force. The exit status is 1 if it may not.`,
		RunE: o.connected(func(cmd *cobra.Command, args []string) error {
			candidate, err := o.candidate(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			_, err = o.evaluate(cmd, candidate, against, as, since, gate)
			return err
		}),
	}
	f := cmd.Flags()
	f.Var((*days)(&since), "since", "how far back to look: 12h, 30d")
	since = 30 * 24 * time.Hour
	f.StringVar(&against, "against", "", "the learned policy (file or hash) to compare with; default: the promoted one, else the best value of actions.yaml")
	f.StringVar(&as, "as", "text", "text or json")
	f.IntVar(&gate.Choices, "choices", gate.Choices, "the gate: the least number of randomised choices")
	f.Float64Var(&gate.Margin, "margin", gate.Margin, "the gate: how far a guard rail's upper bound may be above that of the policy in force (a share)")
	return cmd
}

// evaluate judges a candidate by the decisions since it was made, but at most since ago,
// against the policy called against ("": the promoted one, or the values of
// actions.yaml). It prints the result, and fails if the gate refuses the candidate.
func (o *oversight) evaluate(cmd *cobra.Command, candidate *learn.Model, against, as string, since time.Duration, gate policy.Gate) (*policy.Judgement, error) {
	ctx, from := cmd.Context(), time.Now().Add(-since)
	if made := candidate.Snapshot().Made; made.After(from) {
		from = made
	}
	if against == "" {
		now, err := o.journal.Promoted(ctx)
		if err != nil {
			return nil, err
		}
		against = now.Snapshot
	}
	var today *learn.Model
	if against != "" {
		var err error
		if today, err = o.candidate(ctx, against); err != nil {
			return nil, err
		}
	}
	j, err := o.judge(ctx, candidate, today, from, gate)
	if err == nil {
		err = printJudgement(cmd.OutOrStdout(), as, candidate.Hash, from, j)
	}
	if err == nil && len(j.Refused) > 0 {
		err = fmt.Errorf("policy: %s may not be promoted", candidate.Hash)
	}
	return j, err
}

// days is a flag for a duration that may be given in days.
type days time.Duration

func (d *days) String() string { return time.Duration(*d).String() }
func (*days) Type() string     { return "duration" }

// Set parses 30d or 36h.
func (d *days) Set(s string) error {
	if n, ok := strings.CutSuffix(s, "d"); ok {
		v, err := time.ParseDuration(n + "h")
		*d = days(24 * v)
		return err
	}
	v, err := time.ParseDuration(s)
	*d = days(v)
	return err
}

// judge tries the decisions since a time, in Redis and in segments.
func (o *oversight) judge(ctx context.Context, candidate, today *learn.Model, since time.Time, gate policy.Gate) (*policy.Judgement, error) {
	t := policy.NewTrier(candidate, today)
	written, err := o.written()
	if err != nil {
		return nil, err
	}
	err = o.journal.Opened(ctx, written, since, func(e *journal.Entry) error {
		switch {
		case e.Kind == journal.KindOutcome:
			var out policy.Outcome
			if err := json.Unmarshal(e.Open, &out); err != nil {
				return fmt.Errorf("policy: outcome: %w", err)
			}
			t.Outcome(&out)
		case e.Kind == journal.KindDecision && e.Personal != nil:
			r, err := policy.Join(e.Open, e.Personal)
			if err != nil {
				return err
			}
			p, err := o.policyOf(ctx, r.Decision.Policy)
			if err != nil {
				return err
			}
			t.Decision(r, p.FeatureNames(), p.Experiment().Salt)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return t.Judge(gate, time.Now()), nil
}

func printJudgement(out io.Writer, as, hash string, from time.Time, j *policy.Judgement) error {
	if as == "json" {
		return json.MarshalWrite(out, j)
	}
	fmt.Fprintf(out, "Learned policy %s: %d randomised choices of %d players since %s; %.4f of its choices are not covered. %d more choices wait for their outcomes and do not count.\n",
		hash, j.Choices, j.Players, from.UTC().Format(time.RFC3339), j.Uncovered, j.Waiting)
	w := table(out, "\tEFFECTIVE\tIPS\tSNIPS\tDOUBLY ROBUST")
	for _, m := range j.Measures {
		for i, p := range []policy.OffPolicy{m.Candidate, m.Today} {
			fmt.Fprintf(w, "%s, %s\t%.0f\t%s\t%s\t%s\n", m.Name, [...]string{"candidate", "today"}[i], p.Effective, interval(p.IPS, p.N), interval(p.SNIPS, p.N), interval(p.DR, p.N))
		}
		fmt.Fprintf(w, "%s, difference\t\t\t\t%s\n", m.Name, interval(m.Difference, j.Choices))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, why := range j.Refused {
		fmt.Fprintln(out, "refused:", why)
	}
	if len(j.Refused) == 0 {
		fmt.Fprintln(out, "It may be promoted.")
	}
	return nil
}
