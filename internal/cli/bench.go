package cli

import (
	"fmt"
	"os"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"pitboss/internal/bench"
)

// benchCmd measures the whole path, a process per component.
func benchCmd() *cobra.Command {
	var (
		cfg  bench.PathConfig
		file string
	)
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "measure the whole path: throughput, latency and CPU by component (see make bench)",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			points, err := bench.Path(cmd.Context(), cfg, cmd.OutOrStdout())
			if err != nil || file == "" {
				return err
			}
			raw, err := json.Marshal(points, json.Deterministic(true), jsontext.WithIndent("  "))
			if err != nil {
				return fmt.Errorf("bench: %w", err)
			}
			return os.WriteFile(file, append(raw, '\n'), 0o644)
		},
	}
	cmd.AddCommand(benchExclusionsCmd())
	f := cmd.Flags()
	f.StringVar(&cfg.Bin, "bin", "bin", "folder of the binaries pitboss and function")
	f.Float64SliceVar(&cfg.Rates, "rates", []float64{250, 500, 1000, 2000}, "open-loop rates, events/s")
	f.DurationVar(&cfg.Phase, "phase", 10*time.Second, "length of each rate")
	f.IntVar(&cfg.Burst, "burst", 40000, "events of the run that finds the maximum")
	f.IntVar(&cfg.Players, "players", 20000, "simulated players")
	f.BoolVar(&cfg.Mixed, "mixed", false, "decisions as features.yaml asks for them, not one for every event")
	f.StringVar(&cfg.Profile, "profile", "", "write the Broker's CPU profile into this folder")
	f.StringVar(&file, "json", "", "also write the points to this file")
	return cmd
}

// benchExclusionsCmd measures how fast an exclusion stops marketing.
func benchExclusionsCmd() *cobra.Command {
	var cfg bench.ExclusionConfig
	cmd := &cobra.Command{
		Use:   "exclusions",
		Short: "measure from the POST of an exclusion, or a withdrawn consent, to the last possible marketing message",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			res, err := bench.Exclusions(cmd.Context(), cfg, cmd.OutOrStdout())
			switch {
			case err != nil:
				return err
			case res.Revoked == 0:
				return fmt.Errorf("bench: no marketing was ever issued: nothing was measured")
			case res.Late > 0:
				return fmt.Errorf("bench: %d marketing messages came after the exclusion and were not revoked", res.Late)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&cfg.Bin, "bin", "bin", "folder of the binaries pitboss and function")
	f.StringVar(&cfg.Models, "models", env("MODELS_DIR", "models"), "folder of features.yaml, rules and models")
	f.Float64Var(&cfg.Rate, "rate", 250, "events/s of other players meanwhile, open-loop")
	f.IntVar(&cfg.Players, "players", 300, "who are excluded (every second opts out)")
	f.DurationVar(&cfg.Every, "every", 100*time.Millisecond, "one of them each")
	return cmd
}
