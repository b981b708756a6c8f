package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"pitboss/internal/journal"
	"pitboss/internal/learn"
	"pitboss/internal/policy"
)

// policyPromoteCmd is `pitboss policy promote`.
func policyPromoteCmd(o *oversight) *cobra.Command {
	var who person
	since := days(30 * 24 * time.Hour)
	cmd := &cobra.Command{
		Use: "promote CANDIDATE", Short: "propose to put a learned policy (a file or a hash) into force in the arms that learn", Args: cobra.ExactArgs(1),
		Long: `Checks the candidate against the gate of ` + "`pitboss policy evaluate`" + ` and, if it passes, proposes it to a second person
(pitboss proposals approve ID, or the console). Once it is approved, every decide adopts it within a second. The journal keeps the
figures.`,
		RunE: o.connected(func(cmd *cobra.Command, args []string) error {
			if err := who.check("policy"); err != nil {
				return err
			}
			ctx := cmd.Context()
			candidate, err := o.candidate(ctx, args[0])
			if err != nil {
				return err
			}
			j, err := o.evaluate(cmd, candidate, "", "text", time.Duration(since), policy.DefaultGate)
			if err != nil {
				return err
			}
			hash, err := o.keep(ctx, candidate)
			if err != nil {
				return err
			}
			return o.proposeLearned(cmd, hash, who.by, who.reason, j)
		}),
	}
	who.flags(cmd, "who proposes it")
	who.because(cmd)
	cmd.Flags().Var(&since, "since", "how far back to look: 12h, 30d")
	return cmd
}

// proposeLearned stores a learned policy until a second person approves it, or promotes
// it if one person is enough.
func (o *oversight) proposeLearned(cmd *cobra.Command, hash, by, reason string, j *policy.Judgement) error {
	body, err := json.Marshal(j)
	if err != nil {
		return err
	}
	now := time.Now().UTC()
	id, settled, err := o.propose(cmd, journal.Proposal{What: journal.ProposeLearned, Subject: hash, Note: reason, By: by, At: now, Body: body})
	switch {
	case err != nil:
		return err
	case !settled:
		fmt.Fprintf(cmd.OutOrStdout(), "it waits for another person: pitboss proposals approve %s, or the console\n", id)
		return nil
	}
	if err := o.journal.PromoteLearned(cmd.Context(), hash, []string{by}, reason, now); err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "learned policy %s decides within a second\n", hash)
	return nil
}

// keep stores a learned policy in the journal under its hash.
func (o *oversight) keep(ctx context.Context, candidate *learn.Model) (hash string, err error) {
	text, hash, err := candidate.Snapshot().Text()
	if err == nil {
		err = o.journal.KeepDocument(ctx, hash, text)
	}
	return hash, err
}

// policyRollbackCmd is `pitboss policy rollback`.
func policyRollbackCmd(o *oversight) *cobra.Command {
	var who person
	cmd := &cobra.Command{
		Use: "rollback", Short: "roll back the promoted learned policy within a second; one person is enough", Args: cobra.NoArgs,
		RunE: o.connected(func(cmd *cobra.Command, _ []string) error {
			if err := who.check("policy"); err != nil {
				return err
			}
			p, err := o.journal.RollbackLearned(cmd.Context(), who.by, who.reason, time.Now().UTC())
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is taken back; %s decides within a second\n", p.Before, learnedName(p.Snapshot))
			return nil
		}),
	}
	who.flags(cmd, "who takes it back")
	who.because(cmd)
	return cmd
}

// policyShadowCmd is `pitboss policy shadow`.
func policyShadowCmd(o *oversight) *cobra.Command {
	var who person
	var off bool
	cmd := &cobra.Command{
		Use: "shadow CANDIDATE", Short: "let a learned policy (a file or a hash) choose in the shadow; each decision records what it would have chosen",
		Args: func(_ *cobra.Command, args []string) error {
			if off != (len(args) == 0) || len(args) > 1 {
				return fmt.Errorf("policy: give a candidate, or --off")
			}
			return nil
		},
		RunE: o.connected(func(cmd *cobra.Command, args []string) error {
			if err := who.check("policy"); err != nil {
				return err
			}
			ctx, hash := cmd.Context(), ""
			if !off {
				candidate, err := o.candidate(ctx, args[0])
				if err != nil {
					return err
				}
				if hash, err = o.keep(ctx, candidate); err != nil {
					return err
				}
			}
			if err := o.journal.ShadowLearned(ctx, hash, who.by, who.reason, time.Now().UTC()); err != nil {
				return err
			}
			if off {
				fmt.Fprintln(cmd.OutOrStdout(), "no learned policy is in the shadow now")
				return nil
			}
			fmt.Fprintf(cmd.OutOrStdout(), "learned policy %s chooses in the shadow within a second\n", hash)
			return nil
		}),
	}
	who.flags(cmd, "who does it")
	who.because(cmd)
	cmd.Flags().BoolVar(&off, "off", false, "take it out of the shadow")
	return cmd
}

// policyStatusCmd is `pitboss policy status`.
func policyStatusCmd(o *oversight) *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "show which learned policy is in force, since when and by whom", Args: cobra.NoArgs,
		RunE: o.connected(func(cmd *cobra.Command, _ []string) error {
			s, err := o.journal.Shadowed(cmd.Context())
			if err != nil {
				return err
			}
			if s.Snapshot != "" {
				fmt.Fprintf(cmd.OutOrStdout(), "in the shadow: %s, since %s by %s: %s\n", learnedName(s.Snapshot), s.At.Format(time.RFC3339), strings.Join(s.By, " and "), s.Reason)
			}
			p, err := o.journal.Promoted(cmd.Context())
			if err != nil {
				return err
			}
			if p.At.IsZero() {
				fmt.Fprintln(cmd.OutOrStdout(), "none was ever promoted: as learning.yaml says")
				return nil
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s, since %s by %s: %s (before: %s)\n", learnedName(p.Snapshot), p.At.Format(time.RFC3339), strings.Join(p.By, " and "), p.Reason, learnedName(p.Before))
			return nil
		}),
	}
}

// learnedName names a promotion's snapshot for people.
func learnedName(hash string) string {
	if hash == "" {
		return "what learning.yaml says"
	}
	return "learned policy " + hash
}
