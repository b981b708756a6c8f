package cli

import (
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"pitboss/internal/journal"
	"pitboss/internal/search"
)

// journalCmd verifies and writes out the journal.
func journalCmd() *cobra.Command {
	o := &oversight{}
	cmd := &cobra.Command{Use: "journal", Short: "verify the journal of decisions, write it out to Parquet"}
	o.flags(cmd)
	cmd.AddCommand(journalVerifyCmd(o), journalWriteCmd(o))
	return cmd
}

func journalVerifyCmd(o *oversight) *cobra.Command {
	var heads bool
	cmd := &cobra.Command{
		Use: "verify", Short: "find changed, removed or reordered entries", Args: cobra.NoArgs,
		RunE: o.connected(func(cmd *cobra.Command, _ []string) error {
			written, err := o.written()
			if err != nil {
				return err
			}
			v, err := o.journal.Verify(cmd.Context(), written)
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			for _, f := range v.Findings {
				fmt.Fprintln(out, f)
			}
			if heads {
				raw, err := json.Marshal(v.Heads, json.Deterministic(true))
				if err != nil {
					return fmt.Errorf("journal: %w", err)
				}
				fmt.Fprintln(out, string(raw))
			}
			if len(v.Findings) > 0 {
				return fmt.Errorf("journal: %d findings in %d entries of %d shards: copy Redis and the segments as they are, and compare them with the heads kept elsewhere",
					len(v.Findings), v.Entries, v.Shards)
			}
			fmt.Fprintf(out, "%d entries of %d shards, %d segments: every chain is whole.\n", v.Entries, v.Shards, v.Segments)
			return nil
		}),
	}
	cmd.Flags().BoolVar(&heads, "heads", false, "print the chains' heads as JSON, to keep elsewhere")
	return cmd
}

func journalWriteCmd(o *oversight) *cobra.Command {
	var keep time.Duration
	cmd := &cobra.Command{
		Use: "write", Short: "write new entries to a Parquet segment and drop old ones from Redis", Args: cobra.NoArgs,
		RunE: o.connected(func(cmd *cobra.Command, _ []string) error {
			if o.segments == "" {
				return fmt.Errorf("journal: --segments (or PITBOSS_SEGMENTS) must name a folder; mount object storage there")
			}
			name, n, err := o.journal.WriteOut(cmd.Context(), journal.Segments{Dir: o.segments}, keep, time.Now())
			if err != nil {
				return err
			}
			if n == 0 {
				fmt.Fprintln(cmd.OutOrStdout(), "nothing new")
				return nil
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%d entries to %s\n", n, name)
			return search.Build(name) // now, since the console would otherwise wait for it
		}),
	}
	cmd.Flags().DurationVar(&keep, "keep", 48*time.Hour, "how long written entries stay in Redis, to answer redeliveries; 0: for ever")
	return cmd
}
