package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"runtime/pprof"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"pitboss/broker"
	"pitboss/internal/setup"
	"pitboss/internal/telemetry"
)

// alone holds the flags of `pitboss broker`.
type alone struct {
	broker    broker.Config
	services  map[string]string // Knative Service → URL
	functions []string          // functions that run in this process
	profile   string
}

// brokerCmd runs the Broker without the rest of the system: for benchmarks,
// rollouts, or a laptop on which one function runs in a debugger.
func brokerCmd() *cobra.Command {
	var a alone
	cmd := &cobra.Command{
		Use:   "broker",
		Short: "the one-machine Broker only; --service gives a function's address, --functions run in this process",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return a.run(cmd.Context(), cmd.OutOrStdout()) },
	}
	f := cmd.Flags()
	f.StringVar(&a.broker.Addr, "addr", "127.0.0.1:8080", "where to listen")
	f.StringVar(&a.broker.DataDir, "data", "data/broker", "folder of the log")
	f.StringVar(&a.broker.BrokerFile, "broker", "broker/base/broker.yaml", "the Broker's manifest")
	f.StringSliceVar(&a.broker.TriggerDirs, "triggers", []string{"triggers"}, "folders of Triggers")
	f.BoolVar(&a.broker.Fsync, "fsync", false, "fsync every event before it is acknowledged")
	f.IntVar(&a.broker.Parallel, "parallel", 0, "first attempts at once per Trigger (0: the default)")
	f.StringVar(&a.profile, "cpuprofile", "", "write a CPU profile to this file")
	f.StringToStringVar(&a.services, "service", nil, "name=url of a Knative Service, e.g. pitboss-profile=http://127.0.0.1:9001")
	f.StringSliceVar(&a.functions, "functions", nil, "functions to run in this process, configured by the environment, e.g. profile,score,decide")
	return cmd
}

func (a *alone) run(ctx context.Context, out io.Writer) (err error) {
	log := setup.Logger("broker")
	setup.RelaxGC()
	if a.profile != "" {
		stop, err := profileCPU(a.profile)
		if err != nil {
			return err
		}
		defer stop()
	}
	quiet, err := telemetry.Start(ctx, log)
	if err != nil {
		return err
	}
	all, err := newHosts(a.functions, nil, log)
	if err != nil {
		return err
	}
	b, err := a.open(all, log)
	if err != nil {
		all.close()
		return err
	}
	fmt.Fprintln(out, "broker at", b.URL())
	failed := make(chan error, 2*len(all)+1)
	life, kill := context.WithCancel(context.WithoutCancel(ctx))
	defer kill()
	for name, h := range all {
		h.start(life, functionEnviron(name, b.URL()), failed)
	}
	err = a.serve(ctx, b, all, failed)
	stopCtx, cancel := context.WithTimeout(context.Background(), 25*time.Second)
	defer cancel()
	if drainErr := b.Drain(stopCtx); err == nil {
		err = drainErr
	}
	all.stop(stopCtx)
	_ = quiet(stopCtx) // lost spans must not fail the command
	return err
}

// serve accepts events once the functions are ready, until ctx ends or something fails.
func (a *alone) serve(ctx context.Context, b *broker.Broker, all hosts, failed chan error) error {
	ready := make(chan error, 1)
	go func() { ready <- all.ready(ctx) }()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return err
		case err := <-ready:
			if err != nil {
				return err
			}
			go func() { failed <- b.Serve() }()
		}
	}
}

// functionEnviron returns the process's environment, with the name of the function
// and, unless K_SINK is set, the Broker's URL.
func functionEnviron(name, brokerURL string) map[string]string {
	env := environ()
	env["FUNCTION_TARGET"], env["K_SINK"] = name, cmp.Or(env["K_SINK"], brokerURL)
	return env
}

func (a *alone) open(all hosts, log *zap.Logger) (*broker.Broker, error) {
	cfg := a.broker
	cfg.Logger = log
	cfg.Function = all.function
	cfg.Resolve = func(name string) (string, bool) {
		if url, ok := a.services[name]; ok {
			return url, true
		}
		return all.resolve(name)
	}
	return broker.Open(cfg)
}

// profileCPU writes a CPU profile until stop is called.
func profileCPU(file string) (stop func(), err error) {
	out, err := os.Create(file)
	if err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	if err := pprof.StartCPUProfile(out); err != nil {
		out.Close()
		return nil, fmt.Errorf("broker: %w", err)
	}
	return func() { pprof.StopCPUProfile(); out.Close() }, nil
}
