package cli

import (
	"time"

	"github.com/spf13/cobra"

	"pitboss/internal/setup"
	"pitboss/internal/simulator"
	"pitboss/internal/sink"
)

// simulateCmd plays simulated players against a Broker or ingest.
func simulateCmd() *cobra.Command {
	var (
		cfg simulator.Config
		url string
	)
	cmd := &cobra.Command{
		Use:   "simulate",
		Short: "play simulated players against a Broker, until interrupted",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg.Start = time.Now()
			client := sink.New(url, 10*time.Second, 64)
			defer client.Close()
			simulator.NewRunner(simulator.New(cfg), client.PostRetry, setup.Logger("simulator")).Run(cmd.Context())
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&url, "broker", "http://127.0.0.1:8080", "where to POST")
	f.IntVar(&cfg.Players, "players", 150, "number of players")
	f.Uint64Var(&cfg.Seed, "seed", 1, "seed of the random numbers; the same seed sends the same events")
	f.Float64Var(&cfg.Pace, "pace", 20, "how many times faster than in reality players come back")
	return cmd
}
