// Package cli holds the commands of bin/pitboss, one file each.
package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// Main runs the command line and returns the process's exit status. extra are commands
// of the floor above, such as `run`, which embeds the Broker.
func Main(version string, extra ...*cobra.Command) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := rootCmd(version, extra...)
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "pitboss:", err)
		return 1
	}
	return 0
}

func rootCmd(version string, extra ...*cobra.Command) *cobra.Command {
	root := &cobra.Command{
		Use:           "pitboss",
		Short:         "Real-time, lawful next best actions for players",
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(extra...)
	root.AddCommand(
		schemasCmd(),
		replayCmd(),
		trainingSetCmd(),
		featuresCmd(),
		modelsCmd(),
		simulateCmd(),
		rulesCmd(),
		journalCmd(),
		whyCmd(),
		replayDecisionCmd(),
		reviewCmd(),
		killSwitchCmd(),
		proposalsCmd(),
		lateCmd(),
		reportCmd(),
		policyCmd(),
		privacyCmd(),
	)
	root.CompletionOptions.DisableDefaultCmd = true
	return root
}

// env returns the environment variable, or def if it is empty.
func env(name, def string) string { return cmp.Or(os.Getenv(name), def) }

// table aligns columns, which tabs separate, below the line of heads. It prints them when
// it is flushed.
func table(out io.Writer, heads string) *tabwriter.Writer {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, heads)
	return w
}

// brokerURL is where events are POSTed by default. In a function's container it is the
// function's own sink.
func brokerURL() string {
	return env("PITBOSS_BROKER", env("K_SINK", "http://127.0.0.1:8080"))
}
