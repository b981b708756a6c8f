// Command peers compares Pitboss with what an engineer might use instead: the same path on
// Restate and on Kafka Streams, one system after another, with one loader. make compare
// runs it; docs/compared.md has its table.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"
)

// options of a comparison.
type options struct {
	systems []string
	reps    int
	length  time.Duration // of a phase
	warm    time.Duration
	players int
	rates   []float64
	kill    float64 // events/s while the application is killed
	again   float64 // the share of sends that repeat an earlier event
	colds   int
	bin     string // folder of pitboss, function and restateapp
	restate string // restate-server
	streams string // folder of StreamsApp and its dependencies
	limits  string
	json    string
	docs    string
}

func main() {
	debug.SetGCPercent(400) // the loader shares the machine with what it measures
	o, err := parse(os.Args[1:])
	if err == nil {
		err = o.compare(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func parse(args []string) (o options, err error) {
	f := flag.NewFlagSet("peers", flag.ExitOnError)
	systems := f.String("systems", strings.Join(names(), " "), "what to compare, separated by spaces")
	rates := f.String("rates", "250 500 1000", "events/s, separated by spaces")
	f.IntVar(&o.reps, "reps", 3, "how often each system is measured, the systems in turn")
	f.DurationVar(&o.length, "d", 10*time.Second, "length of a phase")
	f.DurationVar(&o.warm, "warm", 3*time.Second, "load before the first phase")
	f.IntVar(&o.players, "players", 5000, "players")
	f.Float64Var(&o.kill, "kill", 250, "events/s while the application is killed")
	f.Float64Var(&o.again, "again", 0.05, "share of sends that repeat one of the 32 before")
	f.IntVar(&o.colds, "colds", 3, "starts of the application")
	f.StringVar(&o.bin, "bin", "bin", "folder of pitboss, function and restateapp")
	f.StringVar(&o.restate, "restate", "", "restate-server")
	f.StringVar(&o.streams, "streams", "", "folder of StreamsApp's jar and those it needs")
	f.StringVar(&o.limits, "limits", "", "file of benchstate -only limits -json")
	f.StringVar(&o.json, "json", "", "write the figures to this file")
	f.StringVar(&o.docs, "docs", "", "Markdown file whose table is written anew")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.systems = strings.Fields(*systems)
	for _, s := range o.systems {
		if !slices.Contains(names(), s) {
			return o, fmt.Errorf("-systems: %q is not one of %s", s, strings.Join(names(), ", "))
		}
	}
	for _, s := range strings.Fields(*rates) {
		rate, err := strconv.ParseFloat(s, 64)
		if err != nil || rate <= 0 {
			return o, fmt.Errorf("-rates: %q is no number of events/s", s)
		}
		o.rates = append(o.rates, rate)
	}
	return o, nil
}

// compare measures all systems. The rows of one that fails stay empty, and the exit status
// is 1.
func (o options) compare(ctx context.Context) error {
	out, err := newReport(o)
	if err != nil {
		return err
	}
	began := time.Now()
	for rep := range o.reps {
		for _, p := range peers {
			if !slices.Contains(o.systems, p.name) {
				continue
			}
			fmt.Fprintf(os.Stderr, "%s, %d of %d (after %s)\n", p.name, rep+1, o.reps, time.Since(began).Round(time.Second))
			r := runner{o: o, system: p.name, rep: rep + 1, peer: p.make(o), out: out, log: os.Stderr}
			if err := r.measure(ctx, p.state); err != nil {
				fmt.Fprintf(os.Stderr, "%s failed: %v\n", p.name, err)
				out.Failed = append(out.Failed, fmt.Sprintf("%s, %d of %d", p.name, rep+1, o.reps))
			}
			if err := out.writeJSON(o.json); err != nil { // after each system, so that a later failure loses nothing
				return err
			}
		}
	}
	fmt.Print(out.markdown())
	if err := out.writeDocs(o.docs); err != nil {
		return err
	}
	if len(out.Failed) > 0 {
		return fmt.Errorf("failed: %s", strings.Join(out.Failed, "; "))
	}
	return nil
}
