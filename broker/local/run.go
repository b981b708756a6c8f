package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"pitboss/broker"
	"pitboss/functions"
	"pitboss/internal/cli"
	"pitboss/internal/setup"
	"pitboss/internal/simulator"
	"pitboss/internal/sink"
	"pitboss/internal/telemetry"
)

// config is the configuration of `pitboss run`, read from the environment.
type config struct {
	Addr        string  `env:"PITBOSS_ADDR,default=127.0.0.1:8080"` // the Broker
	IngestAddr  string  `env:"INGEST_ADDR,default=127.0.0.1:8081"`
	ConsoleAddr string  `env:"CONSOLE_ADDR,default=127.0.0.1:8082"`
	RedisURL    string  `env:"REDIS_URL"` // empty: an embedded Redis, whose data ends with the process
	ModelsDir   string  `env:"MODELS_DIR,default=models"`
	BrokerFile  string  `env:"BROKER_FILE,default=broker/base/broker.yaml"`
	TriggersDir string  `env:"TRIGGERS_DIR,default=triggers"`
	LocalDir    string  `env:"LOCAL_TRIGGERS_DIR,default=broker/local/triggers"`
	DataDir     string  `env:"PITBOSS_STATE_DIR,default=data/broker"`
	Fsync       bool    `env:"BROKER_FSYNC"`
	Players     int     `env:"SIMULATOR_PLAYERS,default=150"` // 0: no simulator
	Pace        float64 `env:"SIMULATOR_PACE,default=20"`
	Seed        uint64  `env:"SIMULATOR_SEED"` // 0: a new seed for each run
}

// runCmd runs the whole system in one process.
func runCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "run",
		Short: "the whole system on this machine: Broker, functions, console, simulated players",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			env := environ()
			var cfg config
			if err := setup.Load(env, &cfg); err != nil {
				return err
			}
			return run(cmd.Context(), cfg, env, cmd.OutOrStdout())
		},
	}
}

func environ() map[string]string {
	env := map[string]string{}
	for _, pair := range os.Environ() {
		name, value, _ := strings.Cut(pair, "=")
		env[name] = value
	}
	if env["LOG_LEVEL"] == "" {
		os.Setenv("LOG_LEVEL", "warn") // the terminal shows warnings and errors only
	}
	return env
}

// run starts everything, serves until ctx ends, and stops the parts in the order
// in which events flow, so that every acknowledged event is processed or in the log.
func run(ctx context.Context, cfg config, env map[string]string, out io.Writer) error {
	setup.RelaxGC()
	log := setup.Logger("run")
	life, kill := context.WithCancel(context.WithoutCancel(ctx))
	defer kill()

	quiet, err := telemetry.Start(ctx, log)
	if err != nil {
		return err
	}
	defer func() { _ = quiet(context.WithoutCancel(ctx)) }() // sends the Broker's last spans; the functions sent theirs
	redisURL, stopRedis, err := openRedis(cfg)
	if err != nil {
		return err
	}
	defer stopRedis()
	all, err := newHosts(functions.Names(), map[string]string{"ingest": cfg.IngestAddr, "console": cfg.ConsoleAddr}, log)
	if err != nil {
		return err
	}
	var players *simulator.Runner
	ingest := sink.New(all["ingest"].url(), 30*time.Second, 64)
	if cfg.Players > 0 {
		players = newPlayers(cfg, ingest, log)
	}
	s := &stats{tally: newTally(nil)}
	if players != nil {
		s.tally.answer = players.Answer
	}
	consumer := &http.Server{Handler: s.tally, ReadHeaderTimeout: 5 * time.Second}
	consumerLn, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("run: %w", err)
	}
	go consumer.Serve(consumerLn) //nolint:errcheck // ends with Shutdown

	b, err := broker.Open(broker.Config{
		Addr: cfg.Addr, DataDir: cfg.DataDir, BrokerFile: cfg.BrokerFile,
		TriggerDirs: []string{cfg.TriggersDir, cfg.LocalDir},
		Function:    all.function,
		Resolve: func(service string) (string, bool) {
			if service == "pitboss-local-consumer" {
				return "http://" + consumerLn.Addr().String(), true
			}
			return all.resolve(service)
		},
		Fsync: cfg.Fsync, Logger: log.Named("broker"),
		Extra: map[string]http.Handler{"/stats": s, "/stats/reset": s, "/metrics": s},
	})
	if err != nil {
		return err
	}
	s.broker = b
	b.SetHealth(s.health)
	fatal := make(chan error, 2*len(all)+1)
	go func() { fatal <- b.Serve() }()
	for name, h := range all {
		h.start(life, functionEnv(env, cfg, name, redisURL, b.URL()), fatal)
	}
	err = serve(ctx, cfg, all, s, players, out, fatal)

	stopCtx, cancel := context.WithTimeout(context.Background(), 25*time.Second)
	defer cancel()
	fmt.Fprintln(out, "stopping: draining accepted events …")
	for _, name := range []string{"ingest", "timer"} { // first the senders
		all[name].stop(stopCtx)
		delete(all, name)
	}
	drainErr := b.Drain(stopCtx)
	all.stop(stopCtx)
	_ = consumer.Shutdown(stopCtx)
	return errors.Join(err, drainErr)
}

// serve waits until all functions are ready, prints how to begin, and runs the
// simulator. It returns nil when ctx ends, or the first failure.
func serve(ctx context.Context, cfg config, all hosts, s *stats, players *simulator.Runner, out io.Writer, fatal <-chan error) error {
	ready := make(chan error, 1)
	go func() {
		waitCtx, cancel := context.WithTimeout(ctx, 60*time.Second)
		defer cancel()
		ready <- all.ready(waitCtx)
	}()
	select {
	case <-ctx.Done():
		return nil
	case err := <-fatal:
		return err
	case err := <-ready:
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
	s.ready.Store(true)
	announce(out, all, cfg)
	played := make(chan struct{})
	go func() {
		defer close(played)
		if players != nil {
			players.Run(ctx)
		}
	}()
	defer func() { <-played }()
	select {
	case <-ctx.Done():
		return nil
	case err := <-fatal:
		return err
	}
}

// announce prints the addresses and a first event for a new user to send.
func announce(out io.Writer, all hosts, cfg config) {
	fmt.Fprintf(out, `Pitboss is up. Page: %s   Broker: http://%s   ingest: %s
Try, and see the recommendation for alice on the page:
  curl -i %s -H 'ce-specversion: 1.0' -H 'ce-type: pitboss.payment.failed.v1' -H 'ce-source: /curl' \
    -H "ce-id: $(date +%%s%%N)" -H "ce-time: $(date -u +%%FT%%TZ)" -H 'ce-subject: alice' -H 'Content-Type: application/json' \
    -d '{"operation":"deposit","amount":2000,"currency":"GBP","method":"card","error":"declined"}'
Why, in words:  bin/pitboss explain DECISION     Her features:  bin/pitboss features explain alice     More:  bin/pitboss --help
`, all["console"].url(), cfg.Addr, all["ingest"].url(), all["ingest"].url())
}

func newPlayers(cfg config, to *sink.Client, log *zap.Logger) *simulator.Runner {
	if cfg.Seed == 0 {
		cfg.Seed = uint64(time.Now().UnixNano())
	}
	w := simulator.New(simulator.Config{Seed: cfg.Seed, Players: cfg.Players, Start: time.Now(), Pace: cfg.Pace, Guests: true, History: true})
	return simulator.NewRunner(w, to.PostRetry, log.Named("simulator"))
}

// openRedis returns the configured URL, or the URL of a new embedded Redis. The
// embedded Redis runs the same scripts; its data ends with the process.
func openRedis(cfg config) (url string, stop func(), err error) {
	if cfg.RedisURL != "" {
		forget, err := cli.NoteRedis(cfg.DataDir, "")
		return cfg.RedisURL, forget, err
	}
	m := miniredis.NewMiniRedis()
	if err := m.StartAddr("127.0.0.1:0"); err != nil {
		return "", nil, fmt.Errorf("run: embedded redis: %w", err)
	}
	url = "redis://" + m.Addr()
	forget, err := cli.NoteRedis(cfg.DataDir, url)
	if err != nil {
		m.Close()
		return "", nil, err
	}
	return url, func() { forget(); m.Close() }, nil
}

// functionEnv returns the environment that a function would get on a cluster.
func functionEnv(env map[string]string, cfg config, name, redisURL, brokerURL string) map[string]string {
	out := make(map[string]string, len(env)+8)
	maps.Copy(out, env)
	out["FUNCTION_TARGET"] = name
	out["REDIS_URL"] = redisURL
	out["MODELS_DIR"] = cfg.ModelsDir
	out["K_SINK"] = brokerURL
	out["BROKER_ADMIN_URL"] = brokerURL
	if out["JOURNAL_DIR"] == "" {
		out["JOURNAL_DIR"] = filepath.Join(filepath.Dir(cfg.DataDir), "journal")
	}
	if out["PITBOSS_APPROVERS"] == "" {
		out["PITBOSS_APPROVERS"] = "1" // a single person can try it
	}
	if out["DECIDE_CLOCK"] == "" {
		out["DECIDE_CLOCK"] = "event" // replayed events are decided at their recorded time
	}
	delete(out, "K_SERVICE")
	return out
}
