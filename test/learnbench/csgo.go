package main

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"time"

	"pitboss/internal/dataset"
	"pitboss/internal/event"
	"pitboss/internal/feature"
	"pitboss/internal/learn"
	"pitboss/internal/model"
	"pitboss/internal/trainingset"
)

// later is how fresh the models stay on the days of the csgo recording after those
// they were trained on.
type later struct {
	Rows int `json:"rows"` // decision points after training
	// Expected calibration error of the leave model (ten bins), as it is and calibrated online.
	RawError        float64 `json:"raw_error"`
	CalibratedError float64 `json:"calibrated_error"`
	// Hit rate at five of the next game: the learning chain with the player's own
	// games, and a Markov chain that learns from every round, too.
	Rounds int     `json:"rounds"`
	HR5    float64 `json:"hr_5"`
	Markov float64 `json:"markov_hr_5"`
	// Ahead is the difference with its 95 % interval over players.
	Ahead     float64 `json:"ahead"`
	AheadLow  float64 `json:"ahead_low"`
	AheadHigh float64 `json:"ahead_high"`
	// The chain's weights that were best on the second half of the training part,
	// their hit rate there, and that of the weights in use.
	Searched       learn.Weights `json:"searched"`
	SearchedHR5    float64       `json:"searched_hr_5"`
	SearchedBefore float64       `json:"searched_hr_5_in_use"`
}

// trainShare is the part of the recording, by time, that the models were trained on.
const trainShare = 0.75

// csgo replays the recording's rounds in order.
func csgo(ctx context.Context, models, library string) (*later, error) {
	set, err := feature.Load(filepath.Join(models, "features.yaml"))
	if err != nil {
		return nil, err
	}
	labels, err := feature.LoadLabels(filepath.Join(models, "labels.yaml"))
	if err != nil {
		return nil, err
	}
	if err := model.OpenRuntime(model.Library(library)); err != nil {
		return nil, err
	}
	leave, err := model.LoadModel(filepath.Join(models, "leave", "v1"), model.LoadOptions{})
	if err != nil {
		return nil, err
	}
	defer leave.Close()
	opt := trainingset.Options{Set: set, Labels: labels, Points: trainingset.Rounds, Games: true}
	r := &replayed{set: set, leave: leave, label: -1, chain: learn.NewChain(), markov: learn.NewChain(), last: map[string][]string{}}
	for i, l := range labels {
		if l.Name == "gone_10m" {
			r.label = i
		}
	}
	if r.label < 0 {
		return nil, fmt.Errorf("csgo: labels.yaml has no gone_10m")
	}
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

// replayed takes the rounds, each with what was known right after it.
type replayed struct {
	set   *feature.Set
	leave *model.Model
	label int

	rows          []point
	chain, markov *learn.Chain
	ranker, plain *learn.Ranker
	since         int // rounds since the rankers were taken
	last          map[string][]string
	hits          []hit
	moves         []move
}

// point is a score with what came of it, known ten minutes later.
type point struct {
	at    time.Time
	score float64
	gone  bool
}

// hit is a round whose game was to be guessed.
type hit struct {
	player    string
	at        time.Time
	own, them bool
}

// refresh is how many rounds the rankers are behind at most: a few seconds.
const refresh = 20

// Write takes the next round.
func (r *replayed) Write(row *trainingset.Row) error {
	at := map[string]float64{}
	for i, name := range r.set.Names() {
		at[name] = row.Vector[i]
	}
	in, err := r.leave.Manifest.Row(at, &event.Facts{})
	if err != nil {
		return err
	}
	y := make([]float64, 1)
	if err := r.leave.Score(in, y); err != nil {
		return err
	}
	if l := row.Labels[r.label]; l.Known {
		r.rows = append(r.rows, point{row.Time, y[0], l.Number > 0})
	}
	r.next(row)
	return nil
}

// next guesses the round's game, and learns it.
func (r *replayed) next(row *trainingset.Row) {
	if len(row.Games) == 0 {
		return
	}
	if r.since%refresh == 0 {
		r.ranker, r.plain = r.chain.Ranker(), r.markov.Ranker()
	}
	r.since++
	game := row.Games[0]
	if recent := r.last[row.Player]; len(recent) > 0 {
		r.hits = append(r.hits, hit{row.Player, row.Time, among(r.ranker.Rank(recent, 5), game), among(r.plain.After(recent[0], 5), game)})
		r.moves = append(r.moves, move{row.Time, recent, game})
		r.chain.Add(recent[0], game, 1)
		r.markov.Add(recent[0], game, 1)
	}
	r.last[row.Player] = append([]string(nil), row.Games...)
}

func among(list []learn.Next, game string) bool {
	for _, n := range list {
		if n.Game == game {
			return true
		}
	}
	return false
}

// report measures what came after the training part.
func (r *replayed) report() *later {
	cut := r.rows[int(trainShare*float64(len(r.rows)))].at
	out := &later{}
	var raw, calibrated bins
	c := learn.NewCalibrator()
	var fit learn.Calibration
	known := 0 // rows whose outcome is known
	for i, p := range r.rows {
		for ; known < i && p.at.Sub(r.rows[known].at) > 10*time.Minute; known++ {
			k := r.rows[known]
			c.Observe(k.at, k.score, k.score, k.gone)
			if known%100 == 0 {
				fit = c.Fit()
			}
		}
		if p.at.Before(cut) {
			continue
		}
		out.Rows++
		raw.add(p.score, p.gone)
		calibrated.add(fit.Apply(p.score), p.gone)
	}
	out.Searched, out.SearchedHR5, out.SearchedBefore = searchWeights(r.moves, cut)
	out.RawError, out.CalibratedError = raw.error(), calibrated.error()
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

// bins are ten parts of what was said.
type bins [10]struct{ n, said, came float64 }

func (b *bins) add(said float64, came bool) {
	x := &b[min(9, int(said*10))]
	x.n, x.said, x.came = x.n+1, x.said+said, x.came+number(came)
}

// error is the expected calibration error: what was said less what came, by bin.
func (b *bins) error() (e float64) {
	var n float64
	for _, x := range b {
		n += x.n
		e += math.Abs(x.said - x.came)
	}
	return e / n
}
