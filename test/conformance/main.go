// Command conformance compares the one-machine Broker with a real Knative control plane:
// kube-apiserver, etcd and Knative Eventing with its multi-tenant Broker, as processes on
// this machine. It runs the same scenarios on both and compares what every subscriber
// received.
//
//	go run . -bin DIR [-root REPOSITORY] [-json FILE] [-v]
//
// DIR is what scripts/control-plane.sh prints. The exit status is 1 if there is a difference
// that the table does not list.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"

	"pitboss/test/scenario"
)

func main() {
	bin := flag.String("bin", "", "folder of the control plane's binaries (scripts/control-plane.sh prints it)")
	root := flag.String("root", "../..", "the repository, with bin/function built")
	file := flag.String("json", "", "file to write the result to")
	verbose := flag.Bool("v", false, "print what differs where a difference is known")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ok, err := conform(ctx, *root, *bin, *file, *verbose)
	if err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(2)
	}
	if !ok {
		os.Exit(1)
	}
}

// comparison is one scenario's outcome on both Brokers.
type comparison struct {
	scenario.Scenario
	err  error
	diff []string // lines of only one: - the one-machine Broker, + Knative
	took time.Duration
}

// result is what -json writes.
type result struct {
	Scenarios int `json:"scenarios"`
	Equal     int `json:"equal"`
	Different int `json:"different"` // including those that the table explains
}

func conform(ctx context.Context, root, bin, file string, verbose bool) (bool, error) {
	dir, err := os.MkdirTemp("", "conformance-")
	if err != nil {
		return false, err
	}
	began := time.Now()
	plane, err := startPlane(ctx, bin, dir)
	if plane != nil {
		defer plane.stop()
	}
	if err != nil {
		return false, fmt.Errorf("%w (logs in %s)", err, dir)
	}
	fmt.Fprintf(os.Stderr, "control plane ready after %.1f s\n", time.Since(began).Seconds())
	overHTTP, inProcess := scenario.NewLocal(dir+"/http", false), scenario.NewLocal(dir+"/in-process", true)
	defer overHTTP.Close()
	defer inProcess.Close()
	comparisons := append(compareAll(ctx, overHTTP, inProcess, plane), comparePath(ctx, plane, root, dir))
	r, ok := report(comparisons, verbose)
	if ok {
		os.RemoveAll(dir)
	} else {
		fmt.Fprintln(os.Stderr, "logs in", dir)
	}
	if file == "" {
		return ok, nil
	}
	text, err := json.Marshal(r)
	if err != nil {
		return false, err
	}
	return ok, os.WriteFile(file, append(text, '\n'), 0o644)
}

// compareAll runs four scenarios at a time.
func compareAll(ctx context.Context, overHTTP, inProcess, plane scenario.Target) []comparison {
	var table []scenario.Scenario
	for _, s := range scenario.Table() {
		if s.Alone != "" {
			fmt.Fprintf(os.Stderr, "not run: %s: %s\n", s.Name, s.Alone)
			continue
		}
		table = append(table, s)
	}
	out := make([]comparison, len(table))
	limit := make(chan struct{}, 4)
	var wg sync.WaitGroup
	var mu sync.Mutex // the local Broker's target is not safe for concurrent use
	for i, s := range table {
		wg.Add(1)
		go func() {
			defer wg.Done()
			limit <- struct{}{}
			defer func() { <-limit }()
			began := time.Now()
			out[i] = compare(ctx, s, lockedTarget{overHTTP, &mu}, lockedTarget{inProcess, &mu}, plane)
			out[i].took = time.Since(began)
		}()
	}
	wg.Wait()
	return out
}

type lockedTarget struct {
	scenario.Target
	mu *sync.Mutex
}

func (t lockedTarget) Deploy(ctx context.Context, s scenario.Scenario, subscribers []string, dead string) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.Target.Deploy(ctx, s, subscribers, dead)
}

// compare compares both kinds of delivery of the one-machine Broker with Knative.
func compare(ctx context.Context, s scenario.Scenario, overHTTP, inProcess, plane scenario.Target) comparison {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	c := comparison{Scenario: s}
	theirs, err := scenario.Run(ctx, plane, s)
	if err != nil {
		c.err = fmt.Errorf("Knative: %w", err)
		return c
	}
	ours, err := scenario.Run(ctx, overHTTP, s)
	if err != nil {
		c.err = fmt.Errorf("one-machine Broker: %w", err)
		return c
	}
	c.diff = scenario.Differ(ours, theirs)
	if s.OverHTTP != "" {
		return c
	}
	direct, err := scenario.Run(ctx, inProcess, s)
	if err != nil {
		c.err = fmt.Errorf("one-machine Broker, in process: %w", err)
		return c
	}
	if diff := scenario.Differ(ours, direct); len(diff) > 0 {
		c.err = fmt.Errorf("in process (+) differs from HTTP (-): %s", strings.Join(diff, "; "))
	}
	return c
}

// report prints the table. ok is true if nothing failed and every difference is known.
func report(comparisons []comparison, verbose bool) (r result, ok bool) {
	ok = true
	known := 0
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "scenario\tresult\tseconds")
	for _, c := range comparisons {
		r.Scenarios++
		verdict := "equal"
		switch {
		case c.err != nil:
			verdict = "FAILED: " + c.err.Error()
		case len(c.diff) > 0 && c.Known != "":
			verdict = "known difference"
			known++
		case len(c.diff) > 0:
			verdict = "DIFFERENT"
		case c.Known != "":
			verdict = "EQUAL, but the table knows a difference"
		}
		if verdict == "equal" {
			r.Equal++
		} else {
			r.Different++
			ok = ok && len(c.diff) > 0 && c.Known != ""
		}
		fmt.Fprintf(w, "%s\t%s\t%.1f\n", c.Name, verdict, c.took.Seconds())
	}
	w.Flush()
	for _, c := range comparisons {
		if c.Known != "" {
			fmt.Printf("\n%s: %s\n", c.Name, c.Known)
		}
		if len(c.diff) > 0 && (verbose || c.Known == "") {
			fmt.Printf("\n%s (- one-machine Broker, + Knative)\n", c.Name)
			for _, l := range c.diff {
				fmt.Println("  " + l)
			}
		}
	}
	fmt.Printf("\n%d scenarios: %d equal, %d different (%d of them known and explained above)\n", r.Scenarios, r.Equal, r.Different, known)
	return r, ok
}
