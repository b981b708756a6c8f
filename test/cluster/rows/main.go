// Command rows plays on the running cluster what users and nodes do to Pitboss,
// and prints what was seen as one table. scripts/cluster.sh runs it inside the
// cluster's network.
//
//	rows [-json FILE] [ready story throughput console limits deadletters rollout policies kills redeploy scale cold restarts]
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"
)

// A row plays one part and returns its figures.
type row struct {
	name string
	play func(context.Context, *cluster) (figures, error)
}

type figures map[string]any

var rows = []row{
	{"ready", ready}, {"story", story}, {"throughput", throughput}, {"console", console}, {"limits", limits},
	{"deadletters", deadLetters}, {"rollout", rollout}, {"policies", policies}, {"kills", kills}, {"redeploy", redeploy}, {"scale", scale}, {"cold", cold}, {"restarts", restarts},
}

func main() {
	log.SetFlags(log.Ltime)
	file := flag.String("json", "", "write the figures there, too")
	c := &cluster{}
	flag.StringVar(&c.url, "url", "http://10.200.0.1:30080", "the ingress")
	flag.StringVar(&c.began, "began", "", "a file made when the deploy began")
	flag.StringVar(&c.registry, "registry", "127.0.0.1:30500", "")
	flag.DurationVar(&c.load, "for", 60*time.Second, "how long each load lasts")
	flag.IntVar(&c.rate, "rate", 30, "events/s of a load")
	flag.IntVar(&c.over, "over", 4, "how many times the rate is more than the node can take")
	flag.IntVar(&c.colds, "colds", 20, "cold starts of each function")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	all, failed := map[string]any{}, false
	for _, r := range rows {
		if flag.NArg() > 0 && !slices.Contains(flag.Args(), r.name) {
			continue
		}
		log.Printf("%s …", r.name)
		f, err := r.play(ctx, c)
		if f == nil {
			f = figures{}
		}
		if err != nil {
			f["error"], failed = err.Error(), true
		}
		all[r.name] = f
		line, _ := json.Marshal(f) // of numbers and strings
		fmt.Printf("%-10s %s\n", r.name, line)
	}
	if *file != "" {
		text, _ := json.MarshalIndent(all, "", "  ")
		if err := os.WriteFile(*file, append(text, '\n'), 0o644); err != nil {
			log.Fatal("rows: ", err)
		}
	}
	if failed {
		os.Exit(1)
	}
}
