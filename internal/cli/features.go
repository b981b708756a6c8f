package cli

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pitboss/internal/event"
	"pitboss/internal/feature"
	"pitboss/internal/player"
)

// featuresCmd checks and shows the declared features.
func featuresCmd() *cobra.Command {
	var models string
	cmd := &cobra.Command{Use: "features", Short: "check, list and explain the declared features"}
	cmd.PersistentFlags().StringVar(&models, "models", env("MODELS_DIR", "models"), "folder of features.yaml and labels.yaml")
	cmd.AddCommand(
		&cobra.Command{
			Use: "check", Short: "type-check features.yaml and labels.yaml; errors name file, line and feature", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return checkFeatures(cmd.OutOrStdout(), models) },
		},
		&cobra.Command{
			Use: "list", Short: "list the features, the events that feed them and how far back they look", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return listFeatures(cmd.OutOrStdout(), models) },
		},
		explainCmd(&models),
	)
	return cmd
}

func loadFeatures(models string) (*feature.Set, error) {
	return feature.Load(filepath.Join(models, "features.yaml"))
}

func checkFeatures(out io.Writer, models string) error {
	set, err := loadFeatures(models)
	if err != nil {
		return err
	}
	labels, err := feature.LoadLabels(filepath.Join(models, "labels.yaml"))
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d features, feature set %s, %d score_when conditions, %d labels: no mistakes found\n",
		len(set.Names()), set.Hash(), len(set.Conditions()), len(labels))
	return nil
}

func listFeatures(out io.Writer, models string) error {
	set, err := loadFeatures(models)
	if err != nil {
		return err
	}
	w := table(out, "FEATURE\tAGG\tHORIZON\tFED BY\tWHAT")
	for _, d := range set.Declarations() {
		name, agg, fed := d.Name, string(d.Agg), strings.Join(d.On, " ")
		horizon := d.Horizon.String()
		if d.Helper {
			name += " (helper)"
		}
		if d.Expr != "" {
			agg, horizon, fed = "expr", "", d.Expr
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", name, agg, horizon, fed, d.Doc)
	}
	return w.Flush()
}

func explainCmd(models *string) *cobra.Command {
	var where, at string
	cmd := &cobra.Command{
		Use:   "explain PLAYER",
		Short: "show a player's features, their declarations and what is stored, from Redis",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			set, err := loadFeatures(*models)
			if err != nil {
				return err
			}
			rdb, err := openRedis(cmd.Context(), where)
			if err != nil {
				return err
			}
			defer rdb.Close()
			st, version, err := player.NewStore(rdb, set, player.Config{}).Read(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if version == (player.Version{}) {
				return fmt.Errorf("features: no state of player %s in %s", event.HashPlayer(args[0]), where)
			}
			asOf := st.AsOf()
			if at != "" {
				if asOf, err = time.Parse(time.RFC3339, at); err != nil {
					return fmt.Errorf("features: --at: %w", err)
				}
			}
			return explainPlayer(cmd.OutOrStdout(), set, st, version.String(), asOf)
		},
	}
	cmd.Flags().StringVar(&where, "redis", redisURL(), "where the state is")
	cmd.Flags().StringVar(&at, "at", "", "as of this RFC 3339 time instead of the player's latest event")
	return cmd
}

func explainPlayer(out io.Writer, set *feature.Set, st *feature.State, version string, asOf time.Time) error {
	stored, err := set.Append(nil, st)
	if err != nil {
		return err
	}
	applied, _ := st.Counts()
	fmt.Fprintf(out, "as of %s, state version %s, %d events applied, %d bytes without the duplicate memory\n\n",
		asOf.Format(time.RFC3339Nano), version, applied, len(stored))
	for _, e := range set.Explain(st, asOf) {
		d := e.Declaration
		fmt.Fprintf(out, "%s = %v\n    %s\n", d.Name, e.Value, describe(d))
		for _, s := range e.Stored {
			fmt.Fprintf(out, "    %s\n", s)
		}
	}
	fmt.Fprintf(out, "\n%s", set.Dump(st))
	return nil
}

// describe formats a declaration in one line.
func describe(d feature.Declaration) string {
	if d.Expr != "" {
		return "= " + d.Expr
	}
	text := fmt.Sprintf("%s on %s", d.Agg, strings.Join(d.On, ", "))
	for _, part := range []struct{ name, value string }{{"value", d.Value}, {"of", d.Of}, {"where", d.Where}, {"horizon", d.Horizon.String()}} {
		if part.value != "" {
			text += "; " + part.name + " " + part.value
		}
	}
	return text
}
