// Command drill does to Pitboss what happens to it in operation, and checks the result.
//
//	drill rollout    replace every function repeatedly under load
//	drill coldstart  start functions and time their first answer
//	drill durable    kill every process of Pitboss on Knative's RabbitMQ Broker
//	drill queueproxy run Knative's queue-proxy in front of a function
//
// It runs the functions as they are deployed, one process each (bin/function,
// FUNCTION_TARGET), behind the one-machine Broker with the cluster's manifests and a real
// redis-server. Each drill prints one table, and writes it with -json FILE.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// options are common to the drills.
type options struct {
	root     string // the repository: manifests, models
	function string // the functions' binary
	rabbit   string // folder of the RabbitMQ Broker's binaries: scripts/durable.sh builds them
	proxy    string // queue-proxy's binary: scripts/queueproxy.sh builds it
	json     string // file to write the table to
	rate     int    // events/s
	times    int    // rollouts of each function, starts, or kills of each busy process
	players  int
}

func main() {
	drills := map[string]func(context.Context, options) (table, error){
		"rollout": rollout, "coldstart": coldstart, "durable": durable, "queueproxy": queueProxy}
	if len(os.Args) < 2 || drills[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: drill rollout|coldstart|durable|queueproxy [-h]")
		os.Exit(2)
	}
	var o options
	f := flag.NewFlagSet("drill "+os.Args[1], flag.ExitOnError)
	f.StringVar(&o.root, "root", ".", "the repository")
	f.StringVar(&o.function, "function", "bin/function", "the functions' binary")
	f.StringVar(&o.rabbit, "rabbit", "", "durable: the `folder` with the RabbitMQ Broker's binaries")
	f.StringVar(&o.proxy, "proxy", "", "queueproxy: queue-proxy's binary")
	f.StringVar(&o.json, "json", "", "file to write the table to")
	f.IntVar(&o.rate, "rate", 1000, "events/s")
	times := map[string]int{"rollout": 20, "coldstart": 50, "durable": 3}[os.Args[1]]
	f.IntVar(&o.times, "times", times, "rollouts of each function, starts, or kills of each busy process")
	f.IntVar(&o.players, "players", 2000, "players")
	_ = f.Parse(os.Args[2:])
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	t, err := drills[os.Args[1]](ctx, o)
	if err == nil {
		err = t.write(o.json)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "drill:", err)
		os.Exit(1)
	}
	if !t.passed {
		os.Exit(1)
	}
}

// table is a drill's result: named numbers in a fixed order.
type table struct {
	rows   []row
	passed bool
}

type row struct {
	name    string
	value   float64
	printed bool // but not written, since others script against the file
}

func (t *table) add(name string, v float64)  { t.rows = append(t.rows, row{name, v, false}) }
func (t *table) note(name string, v float64) { t.rows = append(t.rows, row{name, v, true}) }

// write prints the table and, if file is set, writes it as a JSON object.
func (t table) write(file string) error {
	m := map[string]float64{}
	for _, r := range t.rows {
		fmt.Printf("%-18s %10.6g\n", r.name, r.value)
		if !r.printed {
			m[r.name] = r.value
		}
	}
	if file == "" {
		return nil
	}
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}
