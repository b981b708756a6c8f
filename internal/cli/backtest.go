package cli

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pitboss/internal/policy"
	"pitboss/internal/search"
)

// backtestCmd is `pitboss rules backtest`.
func backtestCmd(o *oversight) *cobra.Command {
	var since time.Duration
	cmd := &cobra.Command{
		Use: "backtest NEW", Short: "show what the models folder NEW would have sent or stopped of the decisions in Redis", Args: cobra.ExactArgs(1),
		Long: `Makes the journal's decisions again, from their stored inputs, under the rules, markers and actions of the folder NEW. It lists what
would have been sent or stopped, by rule, action, jurisdiction and brand, with decisions to look at (pitboss explain). Each decision is
tried by itself, on the contact history that it had; later effects of a change are not followed. Rules that were not in force at the
decision's time do not apply. Decisions in segments and those of erased players are not tried.`,
		RunE: o.connected(func(cmd *cobra.Command, args []string) error {
			p, _, err := loadPolicy(args[0])
			if err != nil {
				return err
			}
			var known []*policy.Policy
			if files, _, err := o.policy(); err == nil {
				known = append(known, files)
			}
			began := time.Now()
			b, err := search.Backtest(cmd.Context(), o.journal, p, began.Add(-since), 0, known...)
			if err != nil {
				return err
			}
			printBacktest(cmd, b, time.Since(began))
			return nil
		}),
	}
	cmd.Flags().StringVar(&o.redis, "redis", redisURL(), "where the journal is")
	cmd.Flags().DurationVar(&since, "since", 24*time.Hour, "how far back")
	return cmd
}

func printBacktest(cmd *cobra.Command, b *policy.Backtest, took time.Duration) {
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "%d decisions tried in %s, %d would differ", b.Decisions, took.Round(time.Millisecond), b.Changed)
	if b.Erased > 0 {
		fmt.Fprintf(out, "; %d of erased players can't be tried", b.Erased)
	}
	fmt.Fprintln(out, ".")
	if b.Changed == 0 {
		return
	}
	w := table(out, "COUNT\tACTION\tWHAT\tBY\tJURISDICTION\tBRAND\tFOR EXAMPLE")
	for _, c := range b.Changes() {
		by := cmp.Or(c.Rule, "eligibility or value")
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%s\n", c.Count, c.Action, c.What, by, c.Jurisdiction, c.Brand, strings.Join(c.Examples, " "))
	}
	_ = w.Flush()
	fmt.Fprintln(out, policy.Disclaimer)
}
