package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"pitboss/internal/player"
)

// lateCmd lists the producers whose events did not count.
func lateCmd() *cobra.Command {
	o := &oversight{}
	var days int
	cmd := &cobra.Command{
		Use: "late", Short: "list producers whose events came too late to count, by day", Args: cobra.NoArgs,
		Long: "Lists, by day (UTC) and source, how many acknowledged events did not count. A late event is older than the player's latest event by\n" +
			"more than the lateness window. An unknown_round is a rollback of a round that is unknown or too old. Facts are never late.",
		RunE: o.connected(func(cmd *cobra.Command, _ []string) error {
			list, err := player.ReadKeptOut(cmd.Context(), o.rdb, time.Now(), days)
			if err != nil {
				return err
			}
			if len(list) == 0 {
				fmt.Fprintln(cmd.OutOrStdout(), "none: every event counted")
				return nil
			}
			w := table(cmd.OutOrStdout(), "DAY\tREASON\tSOURCE\tEVENTS")
			for _, k := range list {
				fmt.Fprintf(w, "%s\t%s\t%s\t%d\n", k.Day, k.Reason, k.Source, k.Events)
			}
			return w.Flush()
		}),
	}
	o.flags(cmd)
	cmd.Flags().IntVar(&days, "days", 7, "how many days to look back")
	return cmd
}
