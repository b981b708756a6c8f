package cli

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"pitboss/internal/journal"
	"pitboss/internal/policy"
)

// reportCmd is `pitboss report`.
func reportCmd() *cobra.Command {
	o := &oversight{}
	var temperature float64
	cmd := &cobra.Command{
		Use: "report", Short: "what the recommendations were worth: outcomes, uplift against the holdout, off-policy estimates", Args: cobra.NoArgs,
		Long: `Joins decisions with their outcomes, by kind. Protection is measured by what protects: players of whom nothing was decided for half
an hour after the message, and those whom markers of harm led to it and who show none an hour to a week later; it is never held
against the holdout. Service and marketing, per action and arm: the share of players who took it up, and who were seen
again between 10 minutes and 24 hours after their first such decision, against players who would have got the action and were held
out; with the smallest difference that so many players can show, and how many more are needed to show 0.05. Intervals are 95 % (Wilson;
Newcombe for the difference); one of fewer than 10 players is not printed.

The off-policy line estimates the acceptance that a softmax with --temperature would have had, from the choices
of the arms that explore (IPS, SNIPS, doubly robust).`,
		RunE: o.connected(func(cmd *cobra.Command, _ []string) error {
			rows, err := o.rows(cmd)
			if err != nil {
				return err
			}
			p, _, err := o.policy()
			if err != nil {
				return err
			}
			return printReport(cmd, rows, p.Holdout(), temperature)
		}),
	}
	o.flags(cmd)
	cmd.Flags().Float64Var(&temperature, "temperature", 0, "of the policy to evaluate; 0: always the best value")
	return cmd
}

// rows reads the journal. Players are told apart by the names of their sealing
// keys, so that no personal part is opened.
func (o *oversight) rows(cmd *cobra.Command) ([]policy.Row, error) {
	written, err := o.written()
	if err != nil {
		return nil, err
	}
	rows := policy.NewRows()
	err = o.journal.Everything(cmd.Context(), written, func(e *journal.Entry) error {
		switch e.Kind {
		case journal.KindDecision:
			return rows.Decision(e.KeyName, e.Open)
		case journal.KindOutcome:
			return rows.Outcome(e.Open)
		}
		return nil
	})
	return rows.All(), err
}

func printReport(cmd *cobra.Command, rows []policy.Row, holdout, temperature float64) error {
	rep := policy.MakeReport(rows, holdout)
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "%d decisions, %d issued; %d players, %d of them held out\n", rep.Decisions, rep.Issued, rep.Players, rep.HeldOut)
	if rep.Mismatch {
		fmt.Fprintf(out, "SAMPLE RATIO MISMATCH: a share of %.3f is meant to be held out. Nothing below that is against the holdout can be trusted.\n", holdout)
	}
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "\nPROTECTION\tISSUED\tPLAYERS\tTAKEN UP\tPAUSED\tMARKED\tCLEARED")
	for _, l := range rep.Lines {
		if l.Kind == policy.Protection {
			fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%s\t%d\t%s\n", l.Action, l.Issued, l.Players, interval(l.Done, l.Players), interval(l.Paused, l.Players), l.Marked, interval(l.Cleared, l.Marked))
		}
	}
	fmt.Fprintln(w, "\nACTION\tARM\tISSUED\tDELIVERED\tDISMISSED\tPLAYERS\tTAKEN UP\tSTAYED\tHELD OUT\tSTAYED\tUPLIFT\tCAN SHOW\tMORE PLAYERS NEEDED")
	for _, l := range rep.Lines {
		if l.Kind != policy.Protection {
			few := min(l.Players, l.HoldoutPlayers)
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%d\t%s\t%s\t%d\t%s\t%s\t%.2f\t%d\n", l.Action, l.Arm, l.Issued, l.Delivered, l.Dismissed,
				l.Players, interval(l.Done, l.Players), interval(l.Stayed, l.Players), l.HoldoutPlayers, interval(l.Holdout, l.HoldoutPlayers), interval(l.Uplift, few), l.Detectable, l.Needed)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	off := policy.OffPolicyOf(rows, temperature)
	if off.N == 0 {
		fmt.Fprintln(out, "\nNo randomised choice yet: no off-policy estimate.")
		return nil
	}
	fmt.Fprintf(out, "\nAcceptance of softmax(%g) from %d randomised choices (worth %.0f): IPS %s, SNIPS %s, DR %s\n",
		temperature, off.N, off.Effective, interval(off.IPS, off.N), interval(off.SNIPS, off.N), interval(off.DR, off.N))
	return nil
}

// interval is an estimate of n players; of a few it means nothing.
func interval(e policy.Estimate, n int) string {
	if n < 10 {
		return "–"
	}
	return fmt.Sprintf("%.3f [%.3f, %.3f]", e.Value, e.Low, e.High)
}
