package cli

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"pitboss/internal/journal"
	"pitboss/internal/policy"
)

// backtestCmd is `pitboss rules backtest`.
func backtestCmd(o *oversight) *cobra.Command {
	var since time.Duration
	cmd := &cobra.Command{
		Use: "backtest NEW", Short: "tell what the models folder NEW would have sent or stopped of the decisions in Redis", Args: cobra.ExactArgs(1),
		Long: `Decides the journal's stored inputs again under the rules, markers and actions of the folder NEW and tells what would have been
sent or stopped, by rule, action, jurisdiction and brand, with decisions to look at (pitboss explain). Each decision is tried by
itself, on the contact history that it had: what a change would have led to later is not followed. A rule that is not in force at the
decision's time stays out. Decisions that were written out to segments, and those of erased players, are not tried.`,
		RunE: o.connected(func(cmd *cobra.Command, args []string) error {
			p, _, err := loadPolicy(args[0])
			if err != nil {
				return err
			}
			began := time.Now()
			b, err := o.backtest(cmd.Context(), p, began.Add(-since))
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

// backtest tries every decision in Redis since a time.
func (o *oversight) backtest(ctx context.Context, p *policy.Policy, since time.Time) (*policy.Backtest, error) {
	b := policy.NewBacktest()
	features := map[string][]string{} // by policy
	names := func(hash string) ([]string, error) {
		if known, ok := features[hash]; ok {
			return known, nil
		}
		old, err := o.policyOf(ctx, hash)
		if err == nil {
			features[hash] = old.FeatureNames()
		}
		return features[hash], err
	}
	shards, err := o.journal.Shards(ctx)
	if err != nil {
		return nil, err
	}
	for _, shard := range shards {
		err := o.journal.Each(ctx, shard, 0, false, func(e *journal.Entry) error {
			if e.Kind != journal.KindDecision || e.Time.Before(since) {
				return nil
			}
			return b.Entry(p, e.Open, e.Personal, names)
		})
		if err != nil {
			return nil, err
		}
	}
	return b, nil
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
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "COUNT\tACTION\tWHAT\tBY\tJURISDICTION\tBRAND\tFOR EXAMPLE")
	for _, c := range b.Changes() {
		by := cmp.Or(c.Rule, "eligibility or value")
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%s\n", c.Count, c.Action, c.What, by, c.Jurisdiction, c.Brand, strings.Join(c.Examples, " "))
	}
	_ = w.Flush() // to a terminal: there is nothing to do about it
	fmt.Fprintln(out, policy.Disclaimer)
}
