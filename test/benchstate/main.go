// Command benchstate measures player state as it is deployed. redis-server, the function
// profile behind func-go's server, and a load generator are three processes that share the
// machine's cores. The events are real CloudEvents and the features are those of
// models/features.yaml. The same run measures the limits of the machine.
//
// make bench-state runs it; docs/state.md explains the figures.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	_ "net/http/pprof"
	"os"
	"time"

	funchttp "knative.dev/func-go/http"

	"pitboss/functions"
)

func main() {
	if err := dispatch(os.Args); err != nil {
		fmt.Fprintln(os.Stderr, "benchstate:", err)
		os.Exit(1)
	}
}

// dispatch runs one of the processes' roles, or the benchmark if there is none.
func dispatch(args []string) error {
	role := ""
	if len(args) > 1 {
		role = args[1]
	}
	switch role {
	case "function":
		if addr := os.Getenv("PPROF_ADDR"); addr != "" {
			go func() { fmt.Fprintln(os.Stderr, http.ListenAndServe(addr, nil)) }()
		}
		f, err := functions.New("profile")
		if err != nil {
			return err
		}
		return funchttp.Start(f)
	case "acknowledge":
		return acknowledgeMain()
	case "load":
		return loadMain(args[2:])
	case "evalsha":
		return evalshaMain(args[2:])
	}
	return benchMain(args[1:])
}

// options of the benchmark.
type options struct {
	models  string
	json    string
	data    string
	seconds time.Duration
	conns   int
	players int
	sweep   string
	profile string
	only    string
	proxy   string
}

func benchMain(args []string) error {
	var o options
	f := flag.NewFlagSet("benchstate", flag.ExitOnError)
	f.StringVar(&o.models, "models", "models", "folder with features.yaml")
	f.StringVar(&o.json, "json", "", "write the figures to this file")
	f.StringVar(&o.data, "data", "csgo-openings-2023.csv.gz", "file of recorded play for bytes per player, in the data folder")
	f.DurationVar(&o.seconds, "seconds", 10*time.Second, "length of each measurement")
	f.IntVar(&o.conns, "conns", 64, "connections of the load generator, one request each at a time")
	f.IntVar(&o.players, "players", 10_000, "players of the main measurement")
	f.StringVar(&o.sweep, "sweep", "1000,10000,100000,1000000", "numbers of players to compare")
	f.StringVar(&o.profile, "profile", "", "write a CPU profile of the function under full load to this file")
	f.StringVar(&o.only, "only", "", "measure only these, comma-separated: limits,full,proxy,half,hot,sweep,bytes")
	f.StringVar(&o.proxy, "proxy", "", "Knative's queue-proxy, a binary: full load once more through it")
	if err := f.Parse(args); err != nil {
		return err
	}
	b, err := newBench(o)
	if err != nil {
		return err
	}
	defer b.close()
	if err := b.run(); err != nil {
		return err
	}
	b.print(os.Stdout)
	if o.json == "" {
		return nil
	}
	out, err := json.MarshalIndent(b.figures, "", "  ")
	if err != nil {
		return fmt.Errorf("figures: %w", err)
	}
	return os.WriteFile(o.json, append(out, '\n'), 0o644)
}
