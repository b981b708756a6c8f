// Command learnbench measures how well Pitboss learns. It replays streams of players with
// known rates of acceptance through decide and feedback, on a real redis-server, and
// prints the regret against the best action.
//
// make learn-bench runs it; docs/learning.md explains the figures.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"pitboss/internal/learn"
)

// report holds the figures.
type report struct {
	Made   time.Time `json:"made"`
	Regret []*regret `json:"regret,omitempty"`
	CSGO   *later    `json:"csgo,omitempty"`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "learnbench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("learnbench", flag.ContinueOnError)
	models := flags.String("models", "models", "the models folder")
	out := flags.String("json", "", "file to write the figures to")
	only := flags.String("only", "hillstrom,openbandit,csgo", "what to measure")
	runs := flags.Int("runs", 1, "replays of each stream")
	seed := flags.Int("seed", 1, "of the first replay")
	players := flags.Int("players", 18000, "players of a stream")
	if err := flags.Parse(args); err != nil {
		return err
	}
	wanted := strings.Split(*only, ",")
	rep := report{Made: time.Now().UTC().Truncate(time.Second)}
	var streams []stream
	if slices.Contains(wanted, "hillstrom") {
		streams = append(streams, hillstrom(*players))
	}
	if slices.Contains(wanted, "openbandit") {
		for _, campaign := range []string{"men", "women"} {
			s, err := openBandit(campaign, *players)
			if err != nil {
				return err
			}
			streams = append(streams, s)
		}
	}
	for _, s := range streams {
		r, err := s.measure(ctx, *models, *runs, *seed)
		if err != nil {
			return err
		}
		fmt.Println(r)
		rep.Regret = append(rep.Regret, r)
	}
	if slices.Contains(wanted, "csgo") {
		l, err := csgo(ctx, *models)
		if err != nil {
			return err
		}
		fmt.Printf("csgo, after training: next game HR@5 %.4f, learning Markov chain %.4f, ahead by %.4f [%.4f, %.4f] (%d rounds)\n",
			l.HR5, l.Markov, l.Ahead, l.AheadLow, l.AheadHigh, l.Rounds)
		fmt.Printf("chain's weights, best on the second half of the training part: %+v with HR@5 %.4f; in use %+v with %.4f\n", l.Searched, l.SearchedHR5, learn.ChainWeights, l.SearchedBefore)
		rep.CSGO = l
	}
	if *out == "" {
		return nil
	}
	text, err := json.MarshalIndent(rep, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(*out, append(text, '\n'), 0o644)
}
