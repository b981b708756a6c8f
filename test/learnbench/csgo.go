package main

import (
	"context"
	"math"
	"path/filepath"
	"time"

	"pitboss/internal/dataset"
	"pitboss/internal/event"
	"pitboss/internal/feature"
	"pitboss/internal/learn"
	"pitboss/internal/trainingset"
)

// later measures the ranking of next games on the days of the csgo recording after those
// that the models were trained on. TestRecordedDaysInServing in functions/timer measures
// the scores, and the ranking as it is served.
type later struct {
	// Hit rates at five of the next game: of the learning chain with the player's own games,
	// and of a Markov chain that also learns from every round.
	Rounds int     `json:"rounds"`
	HR5    float64 `json:"hr_5"`
	Markov float64 `json:"markov_hr_5"`
	// Ahead is their difference with its 95 % interval over players.
	Ahead     float64 `json:"ahead"`
	AheadLow  float64 `json:"ahead_low"`
	AheadHigh float64 `json:"ahead_high"`
	// The chain's weights that are best on the second half of the training part, their hit
	// rate there, and the hit rate of the weights in use.
	Searched       learn.Weights `json:"searched"`
	SearchedHR5    float64       `json:"searched_hr_5"`
	SearchedBefore float64       `json:"searched_hr_5_in_use"`
}

// trainShare is the part of the recording, by time, that the models were trained on.
const trainShare = 0.75

// csgo replays the recording's rounds in order.
func csgo(ctx context.Context, models string) (*later, error) {
	set, err := feature.Load(filepath.Join(models, "features.yaml"))
	if err != nil {
		return nil, err
	}
	opt := trainingset.Options{Set: set, Points: trainingset.Rounds, Games: true}
	r := &replayed{chain: learn.NewChain(), last: map[string][]string{}}
	rows, err := dataset.Open("csgo-openings-2023.csv.gz")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	if _, err := trainingset.Run(ctx, opt, func() (*event.Record, error) { return rows.Next() }, r); err != nil {
		return nil, err
	}
	return r.report(), nil
}

// replayed receives the rounds, each with the features right after it.
type replayed struct {
	chain  *learn.Chain
	ranker *learn.Ranker
	times  []time.Time
	since  int // rounds since the ranker was made
	last   map[string][]string
	hits   []hit
	moves  []move
}

// hit is a round whose game was predicted.
type hit struct {
	player    string
	at        time.Time
	own, them bool
}

// refresh is the most rounds that the ranker may be behind, a few seconds.
const refresh = 20

// Write predicts the round's game, and then learns it.
func (r *replayed) Write(row *trainingset.Row) error {
	r.times = append(r.times, row.Time)
	if len(row.Games) == 0 {
		return nil
	}
	if r.since%refresh == 0 {
		r.ranker = r.chain.Ranker()
	}
	r.since++
	game := row.Games[0]
	if recent := r.last[row.Player]; len(recent) > 0 {
		r.hits = append(r.hits, hit{row.Player, row.Time, among(r.ranker.Rank(recent, 5), game), among(r.ranker.After(recent[0], 5), game)})
		r.moves = append(r.moves, move{row.Time, recent, game})
		r.chain.Add(recent[0], game, 1)
	}
	r.last[row.Player] = append([]string(nil), row.Games...)
	return nil
}

func among(list []learn.Next, game string) bool {
	for _, n := range list {
		if n.Game == game {
			return true
		}
	}
	return false
}

// report measures the rounds after the training part.
func (r *replayed) report() *later {
	cut := r.times[int(trainShare*float64(len(r.times)))]
	out := &later{}
	out.Searched, out.SearchedHR5, out.SearchedBefore = searchWeights(r.moves, cut)
	ahead := map[string]float64{}
	for _, h := range r.hits {
		if h.at.Before(cut) {
			continue
		}
		out.Rounds++
		own, them := number(h.own), number(h.them)
		out.HR5, out.Markov = out.HR5+own, out.Markov+them
		ahead[h.player] += own - them
	}
	n := float64(out.Rounds)
	out.HR5, out.Markov = out.HR5/n, out.Markov/n
	out.Ahead = out.HR5 - out.Markov
	var ss float64
	for _, d := range ahead {
		ss += d * d
	}
	half := 1.96 * math.Sqrt(ss) / n
	out.AheadLow, out.AheadHigh = out.Ahead-half, out.Ahead+half
	return out
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
