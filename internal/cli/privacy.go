package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"pitboss/functions/privacy"
	"pitboss/internal/journal"
	"pitboss/internal/setup"
)

// privacyCmd erases players and copies their data, as the events privacy.erase and
// privacy.export do.
func privacyCmd() *cobra.Command {
	o := &oversight{}
	cmd := &cobra.Command{Use: "privacy", Short: "erase a player, or copy a player's data"}
	o.flags(cmd)
	cmd.AddCommand(privacyEraseCmd(o), privacyExportCmd(o), privacyKeptCmd(o), &cobra.Command{
		Use: "fetch REQUEST", Short: "print the copy that a privacy.export event asked for", Args: cobra.ExactArgs(1),
		RunE: o.connected(func(cmd *cobra.Command, args []string) error {
			doc, err := o.journal.Export(cmd.Context(), args[0])
			if err == nil {
				fmt.Fprintln(cmd.OutOrStdout(), string(doc))
			}
			return err
		}),
	}, &cobra.Command{
		Use: "release PLAYER", Short: "lift the legal hold of an erased player who actively returned", Args: cobra.ExactArgs(1),
		RunE: o.connected(func(cmd *cobra.Command, args []string) error {
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

// vaultSecret reads the secret that seals the vault, as the function privacy does.
func vaultSecret() (string, error) {
	return setup.Secret("PITBOSS_VAULT_KEY_FILE", env("PITBOSS_VAULT_KEY_FILE", ""))
}

func (o *oversight) rights(written journal.Segments) (*privacy.Rights, error) {
	_, set, err := o.policy()
	if err != nil {
		return nil, err
	}
	secret, err := vaultSecret()
	if err != nil {
		return nil, err
	}
	return privacy.NewRights(o.rdb, set, written, o.models, secret)
}

// privacyKeptCmd opens the vault.
func privacyKeptCmd(o *oversight) *cobra.Command {
	var who person
	cmd := &cobra.Command{
		Use: "kept PLAYER", Short: "print what the law has us keep of an erased player; the journal records who looks and why", Args: cobra.ExactArgs(1),
		RunE: o.connected(func(cmd *cobra.Command, args []string) error {
			if err := who.check("privacy"); err != nil {
				return err
			}
			secret, err := vaultSecret()
			if err != nil {
				return err
			}
			docs, err := o.journal.Vault(secret).Open(cmd.Context(), args[0], journal.Opening{By: who.by, Reason: who.reason, At: time.Now().UTC()})
			if err != nil {
				return err
			}
			if len(docs) == 0 {
				return fmt.Errorf("privacy: nothing is kept of %s; the journal records that you looked", args[0])
			}
			for _, d := range docs {
				fmt.Fprintln(cmd.OutOrStdout(), string(d.Document))
			}
			return nil
		}),
	}
	who.named(cmd, "who looks")
	who.because(cmd)
	_ = cmd.MarkFlagRequired("reason")
	return cmd
}

func privacyEraseCmd(o *oversight) *cobra.Command {
	var request string
	cmd := &cobra.Command{
		Use: "erase PLAYER", Short: "remove a player everywhere, except a legal hold", Args: cobra.ExactArgs(1),
		RunE: o.connected(func(cmd *cobra.Command, args []string) error {
			rights, err := o.rights(journal.Segments{})
			if err != nil {
				return err
			}
			held, err := rights.Erase(cmd.Context(), args[0], request, time.Now().UTC().Truncate(time.Millisecond))
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			fmt.Fprintf(out, "%s is erased: state, reminders, contact history, copies, dead letters, and the key of the journal's personal part.\n", args[0])
			if held {
				fmt.Fprintln(out, "The exclusion is kept, so that the player stays excluded. `pitboss privacy release` lifts it.")
			}
			return nil
		}),
	}
	cmd.Flags().StringVar(&request, "request", "", "the operator's reference for the request")
	_ = cmd.MarkFlagRequired("request")
	return cmd
}

func privacyExportCmd(o *oversight) *cobra.Command {
	return &cobra.Command{
		Use: "export PLAYER", Short: "print everything about a player as JSON; with --segments also what was written out", Args: cobra.ExactArgs(1),
		RunE: o.connected(func(cmd *cobra.Command, args []string) error {
			written, err := o.written()
			if err != nil {
				return err
			}
			rights, err := o.rights(written)
			if err != nil {
				return err
			}
			doc, err := rights.Export(cmd.Context(), args[0], "by hand", time.Now().UTC().Truncate(time.Millisecond))
			if err == nil {
				fmt.Fprintln(cmd.OutOrStdout(), string(doc))
			}
			return err
		}),
	}
}
