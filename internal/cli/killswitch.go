package cli

import (
	"fmt"
	"os/user"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"pitboss/internal/decide"
	"pitboss/internal/journal"
)

// killSwitchCmd turns kill switches.
func killSwitchCmd() *cobra.Command {
	o := &office{}
	cmd := &cobra.Command{Use: "killswitch", Short: "stop a jurisdiction, action, model or rule within a second, without a deploy"}
	o.flags(cmd)
	cmd.AddCommand(turnCmd(o, "on", true), turnCmd(o, "off", false), &cobra.Command{
		Use: "list", Short: "list the switches that are on", Args: cobra.NoArgs,
		RunE: o.inside(func(cmd *cobra.Command, _ []string) error {
			on, err := o.journal.Switches(cmd.Context())
			for _, c := range on {
				fmt.Fprintf(cmd.OutOrStdout(), "%-32s since %s by %s: %s\n", c.Switch, c.At.Format(time.RFC3339), c.By, c.Reason)
			}
			if err == nil && len(on) == 0 {
				fmt.Fprintln(cmd.OutOrStdout(), "none is on")
			}
			return err
		}),
	})
	return cmd
}

// switchable is what a kill switch can stop.
var switchable = []string{"jurisdiction", "action", "model", "rule"}

func turnCmd(o *office, word string, on bool) *cobra.Command {
	var by, reason string
	cmd := &cobra.Command{
		Use: word + " WHAT NAME", Short: "turn a switch " + word + "; WHAT is jurisdiction, action, model or rule", Args: cobra.ExactArgs(2),
		RunE: o.inside(func(cmd *cobra.Command, args []string) error {
			if !slices.Contains(switchable, args[0]) {
				return fmt.Errorf("killswitch: %q: want one of %v", args[0], switchable)
			}
			c := journal.SwitchChange{Switch: decide.Switch(args[0], args[1]), On: on, By: by, Reason: reason, At: time.Now().UTC()}
			if err := o.journal.Turn(cmd.Context(), c); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is %s; every decide acts on it within a second\n", c.Switch, word)
			return nil
		}),
	}
	cmd.Flags().StringVar(&by, "by", whoami(), "who turns it")
	cmd.Flags().StringVar(&reason, "reason", "", "why; the journal keeps it")
	_ = cmd.MarkFlagRequired("reason")
	return cmd
}

func whoami() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return ""
}
