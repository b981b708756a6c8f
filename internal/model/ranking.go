package model

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"pitboss/internal/event"
)

// History declares how the input row of a ranking model is built from the games that a
// player chose recently, the latest first. The row has len(items) columns for each entry
// of Decays. Entry d gives game g the weight Σ d^k over the positions k at which g occurs
// (k = 0 is the latest game). With d = 0 only the latest game counts.
type History struct {
	Length int       `yaml:"length"` // the number of games considered
	Decays []float64 `yaml:"decays,flow"`
}

func (h *History) columns(items int) int { return len(h.Decays) * items }

func (m *Manifest) checkRanking() error {
	switch {
	case len(m.Items) < 2:
		return errors.New("items must list what is ranked")
	case m.History == nil || m.History.Length < 1 || len(m.History.Decays) == 0:
		return errors.New("history must give length and decays")
	case len(m.Features) > 0 || len(m.Histograms) > 0:
		return errors.New("a ranking takes the player's history, not features")
	}
	for i, d := range m.History.Decays {
		if !(d >= 0 && d < 1) {
			return fmt.Errorf("history.decays[%d] must be at least 0 and below 1, is %g", i, d)
		}
	}
	seen := map[string]bool{}
	for i, it := range m.Items {
		if seen[it] {
			return fmt.Errorf("items[%d]: %q is listed twice", i, it)
		}
		seen[it] = true
	}
	return nil
}

// ranker builds a ranking model's input row.
type ranker struct {
	index   map[string]int
	weights [][]float64 // by decay and position
	items   int
}

func newRanker(m *Manifest) *ranker {
	r := &ranker{index: make(map[string]int, len(m.Items)), items: len(m.Items)}
	for i, it := range m.Items {
		r.index[it] = i
	}
	for _, d := range m.History.Decays {
		w := make([]float64, m.History.Length)
		for k := range w {
			w[k] = math.Pow(d, float64(k)) // 0^0 = 1
		}
		r.weights = append(r.weights, w)
	}
	return r
}

// row overwrites x with the row for recent and reports whether any game is known.
func (r *ranker) row(recent []string, x []float64) (known bool) {
	clear(x)
	for k, game := range recent {
		i, ok := r.index[game]
		if !ok || k >= len(r.weights[0]) {
			continue
		}
		known = true
		for d, w := range r.weights {
			x[d*r.items+i] += w[k]
		}
	}
	return known
}

// rankedGames is how many games a ranking lists.
const rankedGames = 5

// rank adds the ranking of next games to out. There is none if the player has no known
// recent game or the model's output is not finite.
func (sc *scratch) rank(m *lineupModel, facts event.Facts, out *event.PlayerScored) error {
	sc.row.Numbers, sc.row.Words, sc.y = sized(sc.row.Numbers, m.columns), nil, sized(sc.y, m.outputs)
	recent := facts.RecentGames
	if len(recent) == 0 && facts.LastGame != "" {
		recent = []string{facts.LastGame}
	}
	if !m.ranker.row(recent, sc.row.Numbers) {
		return nil
	}
	start := time.Now()
	if err := m.Score(sc.row, sc.y); err != nil {
		m.metrics.errors.Inc()
		if noScore(err) {
			return nil
		}
		return err
	}
	m.metrics.seconds.Observe(time.Since(start).Seconds())
	sc.order = sc.order[:0]
	for i := range sc.y {
		sc.order = append(sc.order, i)
	}
	slices.SortStableFunc(sc.order, func(a, b int) int { return cmp.Compare(sc.y[b], sc.y[a]) })
	man := m.Manifest
	for _, i := range sc.order[:min(rankedGames, len(sc.order))] {
		out.Ranking = append(out.Ranking, event.Ranked{Item: man.Items[i], Score: sc.y[i]})
	}
	run := man.unscored()
	run.Score = out.Ranking[0].Score
	out.Models = append(out.Models, run)
	return nil
}
