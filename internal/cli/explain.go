package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

// whyCmd is `pitboss explain DECISION`.
func whyCmd() *cobra.Command {
	o := &office{}
	cmd := &cobra.Command{
		Use: "explain DECISION", Short: "tell why something was sent or not: inputs, models, candidates, rules", Args: cobra.ExactArgs(1),
		RunE: o.inside(func(cmd *cobra.Command, args []string) error {
			r, about, err := o.find(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			p, err := o.policyOf(cmd.Context(), r.Decision.Policy)
			out := cmd.OutOrStdout()
			if err != nil {
				fmt.Fprintf(out, "(the rules' texts are not to be had: %v)\n", err)
			}
			r.Explain(out, p)
			if len(about) > 0 {
				fmt.Fprintln(out, "\nWhat came of it")
			}
			for _, e := range about {
				fmt.Fprintf(out, "  %s %s %s\n", e.Time.Format(time.RFC3339Nano), e.Kind, e.Open)
			}
			return nil
		}),
	}
	o.flags(cmd)
	return cmd
}
