// Command pitboss-bench measures Pitboss: the whole path, its parts, and long runs. It also
// computes what a deployment for a given load needs. It starts bin/pitboss, bin/function
// and redis-server as processes and drives them from outside. See make bench.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"pitboss/test/bench"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := benchCmd()
	root.SilenceUsage, root.SilenceErrors = true, true
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(benchExclusionsCmd(), benchSoakCmd(), benchFormatCmd(), sizingCmd())
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "pitboss-bench:", err)
		os.Exit(1)
	}
}

// benchCmd measures the whole path, a process per component.
func benchCmd() *cobra.Command {
	var (
		cfg            bench.Config
		file, pictures string
	)
	cmd := &cobra.Command{
		Use:   "pitboss-bench",
		Short: "measure the whole path, its parts, their growth and the machine's limits (see make bench)",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cfg.Check(); err != nil {
				return err
			}
			report, err := bench.Run(cmd.Context(), cfg, cmd.ErrOrStderr())
			report.Print(cmd.OutOrStdout())
			if err == nil && pictures != "" {
				err = report.Plot(pictures)
			}
			return errors.Join(err, writeJSON(file, report))
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&cfg.Only, "only", nil, "measure only these: "+strings.Join(bench.Sections, ","))
	pathFlags(f, &cfg.PathConfig)
	f.Float64SliceVar(&cfg.Rates, "rates", []float64{250, 500, 1000, 2000}, "open-loop rates, events/s")
	f.Float64SliceVar(&cfg.MixRates, "mix-rates", []float64{250, 500, 1000, 2000, 3704}, "open-loop rates of the simulator's mix, events/s; 3704/s is 320 million a day")
	f.DurationVar(&cfg.Phase, "phase", 10*time.Second, "length of each rate")
	f.IntVar(&cfg.Burst, "burst", 40000, "events of the run that finds the maximum")
	f.StringVar(&cfg.Profile, "profile", "", "write CPU profiles into this folder")
	f.Float64Var(&cfg.HopRate, "hop-rate", 500, "rate of the measurement by hop, events/s")
	f.IntVar(&cfg.Events, "events", 10000, "events of each function alone and of each size of growth")
	f.StringVar(&cfg.Models, "models", modelsDir(), "folder of features.yaml, rules and models")
	f.StringVar(&cfg.Proxy, "queue-proxy", "", "Knative's queue-proxy, a binary: measure the state path behind it, too")
	f.StringVar(&file, "json", "", "also write the figures to this file")
	f.StringVar(&pictures, "plots", "", "also draw the figures into this folder")
	return cmd
}

// pathFlags adds the flags of commands that start the whole path.
func pathFlags(f *pflag.FlagSet, cfg *bench.PathConfig) {
	f.StringVar(&cfg.Bin, "bin", "bin", "folder of the binaries pitboss and function")
	f.IntVar(&cfg.Players, "players", 20000, "simulated players")
}

// writeJSON writes v to file, unless that is empty.
func writeJSON(file string, v any) error {
	if file == "" {
		return nil
	}
	raw, err := json.Marshal(v, json.Deterministic(true), jsontext.WithIndent("  "))
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	return os.WriteFile(file, append(raw, '\n'), 0o644)
}

// benchSoakCmd runs the whole path for a long time and looks for series that grow.
func benchSoakCmd() *cobra.Command {
	var (
		cfg  bench.SoakConfig
		file string
	)
	cmd := &cobra.Command{
		Use:   "soak",
		Short: "a steady load (or a day's curve) for long: nothing lost, nothing twice, nothing grows",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cfg.For < cfg.Every || cfg.Every <= 0 || cfg.Rate <= 0 {
				return fmt.Errorf("soak: --for %s, --every %s, --rate %g: want a positive rate and at least one sample", cfg.For, cfg.Every, cfg.Rate)
			}
			if !cmd.Flags().Changed("players") {
				cfg.Players = int(bench.PlayersPerEvent * cfg.Rate)
			}
			res, err := bench.Soak(cmd.Context(), cfg, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			res.Print(cmd.OutOrStdout())
			return errors.Join(writeJSON(file, res), res.Verdict())
		},
	}
	f := cmd.Flags()
	pathFlags(f, &cfg.PathConfig)
	f.Lookup("players").Usage = "simulated players (default: as many as play the rate in real time); with fewer, their time passes faster"
	f.Lookup("players").DefValue = "0"
	f.DurationVar(&cfg.For, "for", time.Hour, "length of the run")
	f.Float64Var(&cfg.Rate, "rate", 1000, "events/s; with --diurnal the day's mean")
	f.DurationVar(&cfg.Every, "every", 10*time.Second, "time between samples")
	f.BoolVar(&cfg.Mixed, "mixed", false, "make decisions as features.yaml asks for them, not for every event")
	f.DurationVar(&cfg.Keep, "journal-keep", 5*time.Minute, "how long journal entries stay in Redis after they were written to segments; 0: do not write them")
	f.BoolVar(&cfg.Diurnal, "diurnal", false, "follow one day's load curve, compressed into --for (2h24m: ten times as fast)")
	f.StringVar(&file, "json", "", "also write samples and verdicts to this file")
	return cmd
}

// benchFormatCmd converts figures into Go's benchmark format.
func benchFormatCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "format FILE.json...",
		Short: "print figures that bench --json wrote in Go's benchmark format, for benchstat (see scripts/bench-compare.sh)",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, files []string) error {
			for _, file := range files {
				report, err := bench.ReadReport(file)
				if err != nil {
					return err
				}
				report.GoBench(cmd.OutOrStdout())
			}
			return nil
		},
	}
}

// sizingCmd computes a deployment from measured figures.
func sizingCmd() *cobra.Command {
	var (
		load bench.Demand
		file string
	)
	cmd := &cobra.Command{
		Use:   "sizing --from FILE",
		Short: "cores, Redis shards and Kafka partitions for a load, from the figures bench --json wrote",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			report, err := bench.ReadReport(file)
			if err != nil {
				return err
			}
			size, err := load.Size(report)
			if err != nil {
				return err
			}
			size.Print(cmd.OutOrStdout())
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&file, "from", "", "figures that bench --json wrote (sections mixed, parts and state)")
	_ = cmd.MarkFlagRequired("from")
	f.Float64Var(&load.EventsADay, "events", 320e6, "events a day")
	f.Float64Var(&load.Peak, "peak", 5, "load of the busiest second, as a multiple of the day's mean")
	f.Float64Var(&load.Players, "players", 50e6, "players with state")
	f.Float64Var(&load.Busy, "busy", 0.6, "share of a core, or of a Redis shard's thread, to use at the peak")
	f.Float64Var(&load.NodeCores, "node-cores", 8, "cores of a node")
	f.Float64Var(&load.ShardGB, "shard-gb", 16, "memory of one Redis shard, GB")
	f.IntVar(&load.Replicas, "replicas", 1, "replicas of each Redis shard")
	f.Float64Var(&load.JournalDays, "journal-days", 1, "days of decisions kept in Redis before they are moved to segments")
	f.Float64Var(&load.PartitionMB, "partition-mb", 5, "MB/s one Kafka partition should carry")
	f.Float64Var(&load.PartitionEvents, "partition-events", 500, "events/s one Kafka partition should deliver to one Trigger")
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
				return fmt.Errorf("bench: no marketing was issued, so nothing was measured")
			case res.Late > 0:
				return fmt.Errorf("bench: %d marketing messages came after the exclusion and were not revoked", res.Late)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&cfg.Bin, "bin", "bin", "folder of the binaries pitboss and function")
	f.StringVar(&cfg.Models, "models", modelsDir(), "folder of features.yaml, rules and models")
	f.Float64Var(&cfg.Rate, "rate", 250, "background load of other players, events/s, open-loop")
	f.IntVar(&cfg.Players, "players", 300, "players who are excluded (every second one opts out)")
	f.DurationVar(&cfg.Every, "every", 100*time.Millisecond, "time between two of them")
	f.BoolVar(&cfg.Linked, "linked", false, "exclude a linked account of the player instead")
	return cmd
}

// modelsDir is the default folder of features.yaml, rules and models.
func modelsDir() string {
	if dir := os.Getenv("MODELS_DIR"); dir != "" {
		return dir
	}
	return "models"
}
