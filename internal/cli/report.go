package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"pitboss/internal/policy"
	"pitboss/internal/search"
)

// reportCmd is `pitboss report`.
func reportCmd() *cobra.Command {
	o := &oversight{}
	var temperature float64
	cmd := &cobra.Command{
		Use: "report", Short: "show what the recommendations achieved: outcomes, uplift against the holdout, off-policy estimates", Args: cobra.NoArgs,
		Long: `Joins decisions with their outcomes, by kind. Each player counts once per action and arm, by the first such decision.

Protection is measured by how players behaved afterwards: how many took the message up, paused (no decision about them for half an
hour), set or lowered a limit or took a break within a day, and staked and deposited less in the day after than in the day before (with
the median change). MARKERS CLEARED counts those whom markers of harm led to the message and who show none an hour to a week later.
Protection is never compared with the holdout.

Service and marketing are measured by the goal that actions.yaml declares (by default: seen again between 10 minutes and 24 hours
later), and compared with players who would have got the action and were held out.

CAN SHOW is the smallest difference that this number of players would show in four cases out of five (for protection: of STAKED LESS,
from one half). NEEDED is how many more players each group needs to show a difference of 0.05. Intervals are 95 % (Wilson; Newcombe for
differences; order statistics for medians). Figures of fewer than 10 players are not printed.

Stakes, deposits, limits, breaks and goals are in the sealed parts, so erased players do not count for them.

The off-policy line estimates the acceptance that a softmax with --temperature would have had, from the choices of the arms that
explore (IPS, SNIPS, doubly robust).`,
		RunE: o.connected(func(cmd *cobra.Command, _ []string) error {
			rows, err := o.rows(cmd)
			if err != nil {
				return err
			}
			return printReport(cmd, rows, temperature)
		}),
	}
	o.flags(cmd)
	cmd.Flags().Float64Var(&temperature, "temperature", 0, "temperature of the softmax to estimate; 0: always the best value")
	return cmd
}

// rows reads the journal.
func (o *oversight) rows(cmd *cobra.Command) (*policy.Rows, error) {
	written, err := o.written()
	if err != nil {
		return nil, err
	}
	p, _, err := o.policy()
	if err != nil {
		return nil, err
	}
	return search.Report(cmd.Context(), o.journal, written, p)
}

func printReport(cmd *cobra.Command, rows *policy.Rows, temperature float64) error {
	rep := rows.Report()
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "%d decisions, %d issued; %d players, %d of them held out\n", rep.Decisions, rep.Issued, rep.Players, rep.HeldOut)
	if rep.Mismatch {
		fmt.Fprintf(out, "SAMPLE RATIO MISMATCH: a share of %.3f should be held out. Do not trust any comparison with the holdout below.\n", rep.Meant)
	}
	w := table(out, "\nPROTECTION\tISSUED\tPLAYERS\tTAKEN UP\tPAUSED\tLIMIT SET\tBREAK TAKEN\tSTAKED LESS\tSTAKES\tDEPOSITED LESS\tDEPOSITS\tMARKERS CLEARED\tCAN SHOW\tNEEDED")
	for i := range rep.Lines {
		if l := &rep.Lines[i]; l.Protected != nil {
			p := l.Protected
			fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%.2f\t%d\n", l.Action, l.Issued, l.Players, shown(l.Taken), shown(p.Paused), shown(p.LimitSet), shown(p.Break),
				shown(p.StakedLess), shown(p.StakeChange), shown(p.DepositedLess), shown(p.DepositChange), shown(p.Cleared), l.Detectable, l.Needed)
		}
	}
	fmt.Fprintln(w, "\nACTION\tARM\tISSUED\tDELIVERED\tDISMISSED\tPLAYERS\tTAKEN UP\tGOAL\tREACHED\tHELD OUT\tUPLIFT\tCAN SHOW\tNEEDED")
	for i := range rep.Lines {
		if l := &rep.Lines[i]; l.Protected == nil {
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%d\t%s\t%s\t%s\t%s\t%s\t%.2f\t%d\n", l.Action, l.Arm, l.Issued, l.Delivered, l.Dismissed,
				l.Players, shown(l.Taken), l.Goal, shown(l.Reached), shown(l.Holdout), shown(l.Uplift), l.Detectable, l.Needed)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	off := policy.OffPolicyOf(rows.All(), temperature)
	if off.N == 0 {
		fmt.Fprintln(out, "\nThere is no randomised choice yet, so there is no off-policy estimate.")
		return nil
	}
	fmt.Fprintf(out, "\nAcceptance of softmax(%g) from %d randomised choices (worth %.0f): IPS %s, SNIPS %s, DR %s\n",
		temperature, off.N, off.Effective, interval(off.IPS, off.N), interval(off.SNIPS, off.N), interval(off.DR, off.N))
	return nil
}

// shown formats a figure with the number of its players.
func shown(s policy.Share) string {
	if s.Estimate == nil {
		return fmt.Sprintf("– (%d)", s.Of)
	}
	return fmt.Sprintf("%s (%d)", interval(*s.Estimate, s.Of), s.Of)
}

// interval formats an estimate with its interval, unless it is of fewer than 10 players.
func interval(e policy.Estimate, n int) string {
	if n < 10 {
		return "–"
	}
	return fmt.Sprintf("%.3f [%.3f, %.3f]", e.Value, e.Low, e.High)
}
