package cli

import (
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

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
		Long: `Joins decisions with their outcomes, by kind; each player counts once per action and arm, by the first such decision. Protection, by
what protects: players who took the message up, of whom nothing was decided for half an hour, who set a limit or lowered one or took a
break within a day, and who staked and deposited less in the day after than in the day before (with the median change); and those whom
markers of harm led to the message and who show none an hour to a week later. It is never held against the holdout. Service and
marketing, by the goal that actions.yaml declares (else: seen again between 10 minutes and 24 hours later), against players who would
have got the action and were held out. CAN SHOW is the smallest difference that so many players show in four cases of five (of
protection: of STAKED LESS from one half), NEEDED how many more there must be, in each group, to show 0.05. Intervals are 95 % (Wilson;
Newcombe for the difference; the order's for the median); one of fewer than 10 players is not printed.

Stakes, deposits, limits, breaks and goals are read from the sealed parts, so that erased players count for the rest only.

The off-policy line estimates the acceptance that a softmax with --temperature would have had, from the choices
of the arms that explore (IPS, SNIPS, doubly robust).`,
		RunE: o.connected(func(cmd *cobra.Command, _ []string) error {
			rows, err := o.rows(cmd)
			if err != nil {
				return err
			}
			return printReport(cmd, rows, temperature)
		}),
	}
	o.flags(cmd)
	cmd.Flags().Float64Var(&temperature, "temperature", 0, "of the policy to evaluate; 0: always the best value")
	return cmd
}

// rows reads the journal. Players are told apart by the names of their sealing keys.
func (o *oversight) rows(cmd *cobra.Command) (*policy.Rows, error) {
	written, err := o.written()
	if err != nil {
		return nil, err
	}
	p, _, err := o.policy()
	if err != nil {
		return nil, err
	}
	rows := policy.NewRows(p)
	features := func(hash string) ([]string, error) {
		text, err := o.journal.Document(cmd.Context(), hash)
		if errors.Is(err, journal.ErrNotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		return policy.DocumentFeatures(text)
	}
	err = o.journal.Opened(cmd.Context(), written, time.Time{}, func(e *journal.Entry) error {
		switch e.Kind {
		case journal.KindDecision:
			return rows.Decision(e.KeyName, e.Open, e.Personal, features)
		case journal.KindOutcome:
			return rows.Outcome(e.Open)
		}
		return nil
	})
	return rows, err
}

func printReport(cmd *cobra.Command, rows *policy.Rows, temperature float64) error {
	rep := rows.Report()
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "%d decisions, %d issued; %d players, %d of them held out\n", rep.Decisions, rep.Issued, rep.Players, rep.HeldOut)
	if rep.Mismatch {
		fmt.Fprintf(out, "SAMPLE RATIO MISMATCH: a share of %.3f is meant to be held out. Nothing below that is against the holdout can be trusted.\n", rep.Meant)
	}
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "\nPROTECTION\tISSUED\tPLAYERS\tTAKEN UP\tPAUSED\tLIMIT SET\tBREAK TAKEN\tSTAKED LESS\tSTAKES\tDEPOSITED LESS\tDEPOSITS\tMARKERS CLEARED\tCAN SHOW\tNEEDED")
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
		fmt.Fprintln(out, "\nNo randomised choice yet: no off-policy estimate.")
		return nil
	}
	fmt.Fprintf(out, "\nAcceptance of softmax(%g) from %d randomised choices (worth %.0f): IPS %s, SNIPS %s, DR %s\n",
		temperature, off.N, off.Effective, interval(off.IPS, off.N), interval(off.SNIPS, off.N), interval(off.DR, off.N))
	return nil
}

// shown is a figure with how many players it is about.
func shown(s policy.Share) string {
	if s.Estimate == nil {
		return fmt.Sprintf("– (%d)", s.Of)
	}
	return fmt.Sprintf("%s (%d)", interval(*s.Estimate, s.Of), s.Of)
}

// interval is an estimate of n players; of a few it means nothing.
func interval(e policy.Estimate, n int) string {
	if n < 10 {
		return "–"
	}
	return fmt.Sprintf("%.3f [%.3f, %.3f]", e.Value, e.Low, e.High)
}
