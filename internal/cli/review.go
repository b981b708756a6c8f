package cli

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pitboss/internal/event"
	"pitboss/internal/journal"
	"pitboss/internal/policy"
)

// reviewCmd lists and reviews the decisions that wait for a person.
func reviewCmd() *cobra.Command {
	o := &oversight{}
	cmd := &cobra.Command{Use: "review", Short: "list, approve and overturn decisions that wait for review"}
	o.flags(cmd)
	list := &cobra.Command{
		Use: "list", Short: "list the decisions that wait, the most urgent first", Args: cobra.NoArgs,
		RunE: o.connected(func(cmd *cobra.Command, _ []string) error {
			waiting, err := o.journal.Reviews(cmd.Context())
			if err != nil {
				return err
			}
			for _, w := range waiting {
				late := ""
				if time.Now().After(w.Deadline) {
					late = "  OVERDUE"
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s  until %s%s  %s\n", w.Decision, w.Deadline.Format(time.RFC3339), late, o.inShort(cmd, w.Decision))
			}
			if len(waiting) == 0 {
				fmt.Fprintln(cmd.OutOrStdout(), "nothing waits")
			}
			return nil
		}),
	}
	cmd.AddCommand(list, verdictCmd(o, "approve", "approved"), verdictCmd(o, "overturn", "overturned"))
	return cmd
}

// inShort says what a decision was about, and which rules ask for its review.
func (o *oversight) inShort(cmd *cobra.Command, id string) string {
	r, _, err := o.find(cmd.Context(), id)
	if err != nil {
		return "(" + err.Error() + ")"
	}
	return fmt.Sprintf("%s (%s) by %s, %s", r.Decision.Action, r.Decision.Kind, strings.Join(r.Decision.Review, ", "), cmp.Or(r.Input.Facts.Jurisdiction, "jurisdiction unknown or erased"))
}

func verdictCmd(o *oversight, word, verdict string) *cobra.Command {
	var who person
	var note, more string
	if verdict == "overturned" {
		more = "; sends recommendation.revoked if it was issued"
	}
	cmd := &cobra.Command{
		Use: word + " DECISION", Short: word + " a decision: sends review.decided to the Broker, and feedback journals it" + more, Args: cobra.ExactArgs(1),
		RunE: o.connected(func(cmd *cobra.Command, args []string) error {
			r, _, err := o.find(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			switch {
			case r.Input.Player == "":
				return fmt.Errorf("review: the player of %s was erased, so there is nothing to review", args[0])
			case verdict == "overturned" && note == "":
				return errors.New("review: --note must say why the decision is overturned: the player may ask (GDPR art. 22(3))")
			case who.by == "":
				return errors.New("review: --by must say who looked")
			}
			waiting, err := o.journal.Reviews(cmd.Context())
			if err != nil {
				return err
			}
			data := event.ReviewDecided{Decision: args[0], Verdict: verdict, By: who.by, Note: note}
			if err := who.tell(cmd, event.TypeReviewDecided, r.Input.Player, data); err != nil {
				return fmt.Errorf("review: nothing was recorded: %w", err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %s; feedback journals it\n", args[0], verdict)
			if verdict == "overturned" && r.Decision.Issued {
				if err := who.takeBack(cmd, r, note); err != nil {
					return fmt.Errorf("review: the decision is recorded as overturned, but it was not taken back; run the command again: %w", err)
				}
				fmt.Fprintln(cmd.OutOrStdout(), "recommendation.revoked tells its consumers to take it back")
			}
			if !slices.ContainsFunc(waiting, func(w journal.Waiting) bool { return w.Decision == args[0] }) {
				fmt.Fprintln(cmd.OutOrStdout(), "(it was not waiting for review, or it was reviewed before)")
			}
			return nil
		}),
	}
	who.flags(cmd, "who looked")
	cmd.Flags().StringVar(&note, "note", "", "why, in plain words; no personal data")
	return cmd
}

// takeBack tells the consumers of an issued recommendation that it was overturned.
func (p *person) takeBack(cmd *cobra.Command, r *policy.Record, note string) error {
	e, err := policy.Overturned(source, r.Input.Player, *r.Recommendation(), note, time.Now().UTC())
	if err != nil {
		return err
	}
	return p.post(cmd, e)
}
