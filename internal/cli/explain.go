package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"pitboss/internal/policy"
)

// whyCmd is `pitboss explain`: one decision, or a list of a player's decisions.
func whyCmd() *cobra.Command {
	o := &oversight{}
	var who, until string
	var most int
	cmd := &cobra.Command{
		Use: "explain DECISION | --player PLAYER [--until TIME]", Short: "explain why something was sent or not: inputs, models, candidates, rules",
		Example: "  pitboss explain s0073-f345ab009e70d204f1faaefce9dc4a8a\n  pitboss explain --player alice --until 2026-01-02T14:02:59Z",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 || len(args) == 0 == (who == "") {
				return errors.New("explain: give one decision's id, or --player to list a player's decisions")
			}
			return nil
		},
		RunE: o.connected(func(cmd *cobra.Command, args []string) error {
			if who == "" {
				return o.explain(cmd.Context(), cmd.OutOrStdout(), args[0])
			}
			var end time.Time
			if until != "" {
				var err error
				if end, err = time.Parse(time.RFC3339, until); err != nil {
					return fmt.Errorf("explain: --until: %w", err)
				}
			}
			return o.list(cmd.Context(), cmd.OutOrStdout(), who, end, most)
		}),
	}
	o.flags(cmd)
	cmd.Flags().StringVar(&who, "player", "", "list this player's decisions, newest first")
	cmd.Flags().StringVar(&until, "until", "", "with --player: list those up to this RFC 3339 time")
	cmd.Flags().IntVar(&most, "max", 20, "with --player: list at most this many")
	return cmd
}

func (o *oversight) explain(ctx context.Context, out io.Writer, id string) error {
	r, about, err := o.find(ctx, id)
	if err != nil {
		return err
	}
	p, err := o.policyOf(ctx, r.Decision.Policy)
	if err != nil {
		fmt.Fprintf(out, "(the rules' texts cannot be read: %v)\n", err)
	}
	r.Explain(out, p)
	if len(about) > 0 {
		fmt.Fprintln(out, "\nOutcomes and reviews")
	}
	for _, e := range about {
		fmt.Fprintf(out, "  %s %s %s\n", e.Time.Format(time.RFC3339Nano), e.Kind, e.Open)
	}
	return nil
}

// list prints a player's decisions, one on a line.
func (o *oversight) list(ctx context.Context, out io.Writer, who string, until time.Time, most int) error {
	written, err := o.written()
	if err != nil {
		return err
	}
	entries, whole, err := o.journal.DecisionsOf(ctx, written, who, until, max(1, most))
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	for _, e := range entries {
		r, err := policy.Join(e.Open, e.Personal)
		if err != nil {
			return err
		}
		d, verdict, why := r.Recommendation(), "suppressed", ""
		if r.Decision.Issued {
			verdict = "issued"
		}
		if len(d.Blocked) > 0 {
			why = d.Blocked[0].Rule + " blocked " + d.Blocked[0].Action
		} else if len(d.Reasons) > 0 {
			why = d.Reasons[0].Text
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", d.DecidedAt.Format(time.RFC3339), d.Decision, verdict, d.Action, why)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	switch {
	case len(entries) == 0 && whole:
		fmt.Fprintln(out, "no decision about this player")
	case !whole:
		fmt.Fprintln(out, "Others were written out to segments: --segments says where those are.")
	}
	return nil
}
