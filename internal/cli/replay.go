package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"github.com/go-json-experiment/json"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"pitboss/internal/dataset"
	"pitboss/internal/replay"
	"pitboss/internal/trainingset"
)

// result is the JSON object of `pitboss replay --json`. Its keys are stable.
type result struct {
	Sent        int64            `json:"sent"`     // the file's own events
	Accepted    int64            `json:"accepted"` // acknowledged by the Broker
	Applied     int64            `json:"applied"`  // changed a player's state
	Duplicates  int64            `json:"duplicates"`
	Late        int64            `json:"late"`
	Scored      int64            `json:"scored"`
	Issued      int64            `json:"issued"`
	Suppressed  int64            `json:"suppressed"`
	ByRule      map[string]int64 `json:"suppressed_by_rule"`
	DeadLetters int64            `json:"dead_letters"`
	P50Ms       float64          `json:"p50_ms"`
	P99Ms       float64          `json:"p99_ms"`
	Setup       int64            `json:"setup"` // account and consent events sent first, counted apart
	Refused     int64            `json:"refused"`
	Seconds     float64          `json:"seconds"`
}

// replayCmd POSTs a recorded file to a Broker and reports the result.
func replayCmd() *cobra.Command {
	var (
		broker, speed, trainingSet string
		asJSON                     bool
		limit                      int
	)
	cmd := &cobra.Command{
		Use:   "replay FILE",
		Short: "turn a recorded file into CloudEvents and POST them to a Broker",
		Long: `Turns bustabit.csv.gz or csgo-openings-2023.csv.gz into CloudEvents and POSTs them to a Broker,
at --speed times real speed or as fast as the Broker takes them. The files have no accounts, so an
account and consents are derived from a hash of each player, sent first, and counted apart.
Running it twice changes no state, since events are recognised by source and id.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if trainingSet != "" {
				opt := trainingset.Options{Points: trainingset.Rounds}
				return writeTrainingSet(cmd.Context(), args, trainingSet, env("MODELS_DIR", "models"), opt, cmd.ErrOrStderr())
			}
			x, err := parseSpeed(speed)
			if err != nil {
				return err
			}
			r, err := runReplay(cmd.Context(), args[0], broker, x, limit, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if asJSON {
				raw, err := json.Marshal(r, json.Deterministic(true))
				fmt.Fprintln(cmd.OutOrStdout(), string(raw))
				return err
			}
			return printResult(cmd.OutOrStdout(), r)
		},
	}
	f := cmd.Flags()
	f.StringVar(&broker, "broker", brokerURL(), "the Broker (or ingest) to POST to")
	f.StringVar(&speed, "speed", "max", "times real speed, or max")
	f.BoolVar(&asJSON, "json", false, "end with one JSON object instead of a table")
	f.IntVar(&limit, "limit", 0, "send only the first N events of the file")
	f.StringVar(&trainingSet, "training-set", "", "write point-in-time features and labels to this file instead (.parquet or .csv)")
	return cmd
}

func parseSpeed(s string) (float64, error) {
	if s == "max" {
		return 0, nil
	}
	x, err := strconv.ParseFloat(s, 64)
	if err != nil || x <= 0 {
		return 0, fmt.Errorf("replay: --speed is %q: want a positive number or max", s)
	}
	return x, nil
}

// runReplay sends the setup events and waits until they are delivered. Then it sends the
// file and waits until everything is delivered, replies included.
func runReplay(ctx context.Context, file, broker string, speed float64, limit int, progress io.Writer) (r result, err error) {
	setup, events, err := dataset.Load(file, limit)
	if err != nil {
		return r, err
	}
	opt := replay.Options{Broker: broker}
	done, err := replay.Run(ctx, opt, each(setup))
	if err != nil {
		return r, fmt.Errorf("replay: setup events: %w", err)
	}
	r.Setup = done.Accepted
	watched := true
	if _, err = settle(ctx, broker); err == nil {
		err = call(ctx, http.MethodPost, broker, "/stats/reset", nil)
	}
	if err != nil {
		fmt.Fprintln(progress, "replay: the Broker tells no /stats (only local mode does): what came of the events is not shown:", err)
		watched = false
	}
	bar := progressbar.NewOptions(len(events), progressbar.OptionSetWriter(progress), progressbar.OptionSetDescription(file),
		progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString("events"), progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionOnCompletion(func() { fmt.Fprintln(progress) }))
	started := time.Now()
	opt.Speed, opt.Sent = speed, func() { _ = bar.Add(1) }
	totals, err := replay.Run(ctx, opt, each(events))
	if err != nil {
		return r, err
	}
	r.Sent, r.Accepted, r.Refused = totals.Sent, totals.Accepted, totals.Refused
	if watched {
		s, err := settle(ctx, broker)
		if err != nil {
			return r, err
		}
		r.take(s)
	}
	r.Seconds = time.Since(started).Seconds()
	return r, nil
}

func (r *result) take(s Stats) {
	r.Applied, r.Duplicates, r.Late, r.Scored = s.Applied, s.Duplicates, s.Late, s.Scored
	r.Issued, r.ByRule, r.DeadLetters = s.Issued, s.Suppressed, s.DeadLetters
	r.P50Ms, r.P99Ms = s.P50Ms, s.P99Ms
	for _, n := range s.Suppressed {
		r.Suppressed += n
	}
}

// settle waits until the Broker has delivered everything.
func settle(ctx context.Context, broker string) (s Stats, err error) {
	for quiet := 0; ; {
		s = Stats{}
		if err := call(ctx, http.MethodGet, broker, "/stats", &s); err != nil {
			return s, err
		}
		if s.Pending > 0 {
			quiet = 0
		} else if quiet++; quiet == 3 {
			return s, nil
		}
		select {
		case <-ctx.Done():
			return s, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// each yields the events of a slice, then io.EOF.
func each(events []*ce.Event) func() (*ce.Event, error) {
	i := 0
	return func() (*ce.Event, error) {
		if i == len(events) {
			return nil, io.EOF
		}
		i++
		return events[i-1], nil
	}
}

func printResult(w io.Writer, r result) error {
	row := func(name string, value any) { fmt.Fprintf(w, "  %-34s %v\n", name, value) }
	fmt.Fprintf(w, "%.1f s, %.0f events/s\n", r.Seconds, float64(r.Sent)/r.Seconds)
	row("sent", r.Sent)
	row("accepted by the Broker", r.Accepted)
	row("refused", r.Refused)
	row("applied to a player's state", r.Applied)
	row("duplicates (nothing changed)", r.Duplicates)
	row("too late (kept out)", r.Late)
	row("scored", r.Scored)
	row("recommendations issued", r.Issued)
	row("suppressed", r.Suppressed)
	for _, rule := range slices.SortedFunc(maps.Keys(r.ByRule), func(a, b string) int { return cmp.Compare(r.ByRule[b], r.ByRule[a]) }) {
		row("  by "+rule, r.ByRule[rule])
	}
	row("dead letters", r.DeadLetters)
	row("POST to recommendation, p50 ms", r.P50Ms)
	row("POST to recommendation, p99 ms", r.P99Ms)
	row("accounts and consents sent first", r.Setup)
	if r.Accepted != r.Sent {
		return errors.New("replay: not every event was accepted")
	}
	return nil
}
