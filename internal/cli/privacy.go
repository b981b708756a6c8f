package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"pitboss/functions/privacy"
	"pitboss/internal/journal"
)

// privacyCmd keeps the players' rights by hand; as events: privacy.erase and
// privacy.export.
func privacyCmd() *cobra.Command {
	o := &office{}
	cmd := &cobra.Command{Use: "privacy", Short: "erase or copy a player"}
	o.flags(cmd)
	cmd.AddCommand(privacyEraseCmd(o), privacyExportCmd(o), &cobra.Command{
		Use: "fetch REQUEST", Short: "print the copy that a privacy.export event asked for", Args: cobra.ExactArgs(1),
		RunE: o.inside(func(cmd *cobra.Command, args []string) error {
			doc, err := o.journal.Export(cmd.Context(), args[0])
			if err == nil {
				fmt.Fprintln(cmd.OutOrStdout(), string(doc))
			}
			return err
		}),
	}, &cobra.Command{
		Use: "release PLAYER", Short: "lift the legal hold of an erased player who actively returned", Args: cobra.ExactArgs(1),
		RunE: o.inside(func(cmd *cobra.Command, args []string) error {
			hold, err := o.journal.LegalHold(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if hold == nil {
				return fmt.Errorf("privacy: there is no legal hold on %s", args[0])
			}
			if err := o.journal.Release(cmd.Context(), args[0]); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "The legal hold on %s is lifted. It was: %s\n", args[0], hold)
			return nil
		}),
	})
	return cmd
}

func privacyEraseCmd(o *office) *cobra.Command {
	var request string
	cmd := &cobra.Command{
		Use: "erase PLAYER", Short: "remove a player everywhere, but for a legal hold", Args: cobra.ExactArgs(1),
		RunE: o.inside(func(cmd *cobra.Command, args []string) error {
			_, set, err := o.policy()
			if err != nil {
				return err
			}
			held, err := privacy.NewRights(o.rdb, set, journal.Segments{}).Erase(cmd.Context(), args[0], request, time.Now().UTC().Truncate(time.Millisecond))
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			fmt.Fprintf(out, "%s is erased: state, reminders, contact history, copies, dead letters, and the key of the journal's personal part.\n", args[0])
			if held {
				fmt.Fprintln(out, "Kept: that the player is excluded, so that they stay excluded. `pitboss privacy release` lifts it.")
			}
			return nil
		}),
	}
	cmd.Flags().StringVar(&request, "request", "", "the operator's reference for the request")
	_ = cmd.MarkFlagRequired("request")
	return cmd
}

func privacyExportCmd(o *office) *cobra.Command {
	return &cobra.Command{
		Use: "export PLAYER", Short: "print everything about a player as JSON; with --segments what was written out, too", Args: cobra.ExactArgs(1),
		RunE: o.inside(func(cmd *cobra.Command, args []string) error {
			_, set, err := o.policy()
			if err != nil {
				return err
			}
			written, err := o.written()
			if err != nil {
				return err
			}
			doc, err := privacy.NewRights(o.rdb, set, written).Export(cmd.Context(), args[0], "by hand", time.Now().UTC().Truncate(time.Millisecond))
			if err == nil {
				fmt.Fprintln(cmd.OutOrStdout(), string(doc))
			}
			return err
		}),
	}
}
