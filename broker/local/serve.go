package main

import (
	"context"
	"fmt"
	"os"
	"runtime/pprof"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pitboss/broker"
	"pitboss/internal/setup"
	"pitboss/internal/telemetry"
)

// brokerCmd is the Broker alone, for functions that run as processes of their
// own: benchmarks, rollouts, or a laptop that runs one function in a debugger.
func brokerCmd() *cobra.Command {
	var (
		cfg      broker.Config
		services map[string]string
		profile  string
	)
	cmd := &cobra.Command{
		Use:   "broker",
		Short: "the one-machine Broker alone; each --service says where a function listens",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg.Logger = setup.Logger("broker")
			setup.RelaxGC()
			if profile != "" {
				out, err := os.Create(profile)
				if err != nil {
					return fmt.Errorf("broker: %w", err)
				}
				defer out.Close()
				if err := pprof.StartCPUProfile(out); err != nil {
					return fmt.Errorf("broker: %w", err)
				}
				defer pprof.StopCPUProfile()
			}
			cfg.Resolve = func(name string) (string, bool) {
				url, ok := services[name]
				return url, ok
			}
			quiet, err := telemetry.Start(cmd.Context(), cfg.Logger)
			if err != nil {
				return err
			}
			b, err := broker.Open(cfg)
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), "broker at", b.URL())
			failed := make(chan error, 1)
			go func() { failed <- b.Serve() }()
			select {
			case err = <-failed:
			case <-cmd.Context().Done():
			}
			ctx, cancel := context.WithTimeout(context.Background(), 25*time.Second)
			defer cancel()
			if drainErr := b.Drain(ctx); err == nil {
				err = drainErr
			}
			_ = quiet(ctx) // spans not sent at the very end are no reason to fail
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&cfg.Addr, "addr", "127.0.0.1:8080", "where to listen")
	f.StringVar(&cfg.DataDir, "data", "data/broker", "folder of the log")
	f.StringVar(&cfg.BrokerFile, "broker", "broker/base/broker.yaml", "the Broker's manifest")
	f.StringSliceVar(&cfg.TriggerDirs, "triggers", []string{"triggers"}, "folders of Triggers")
	f.BoolVar(&cfg.Fsync, "fsync", false, "fsync every event before it is acknowledged")
	f.IntVar(&cfg.Parallel, "parallel", 0, "first attempts at once per Trigger (0: the default)")
	f.StringVar(&profile, "cpuprofile", "", "write a CPU profile to this file")
	f.StringToStringVar(&services, "service", nil, "name=url of a Knative Service, e.g. "+strings.Join([]string{"pitboss-profile", "http://127.0.0.1:9001"}, "="))
	return cmd
}
