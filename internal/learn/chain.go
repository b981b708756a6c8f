package learn

import (
	"cmp"
	"slices"
)

// Chain counts which games players open after which. A [Ranker] of it ranks the games that
// a player may open next. A new game is ranked as soon as it has been counted.
type Chain struct {
	counts  map[string]map[string]float64 // by game, then by the next one
	totals  map[string]float64
	popular map[string]float64 // by next game
	all     float64
}

// NewChain returns an empty Chain.
func NewChain() *Chain {
	return &Chain{counts: map[string]map[string]float64{}, totals: map[string]float64{}, popular: map[string]float64{}}
}

// Add counts n players who opened next after game.
func (c *Chain) Add(game, next string, n float64) {
	row := c.counts[game]
	if row == nil {
		row = map[string]float64{}
		c.counts[game] = row
	}
	row[next] += n
	c.totals[game] += n
	c.popular[next] += n
	c.all += n
}

// Weights are the weights of popularity relative to a game's own transitions (Smooth) and
// of the player's own latest games: the k-th latest adds Own·Fade^k.
type Weights struct {
	Smooth float64 `json:"smooth"`
	Own    float64 `json:"own"`
	Fade   float64 `json:"fade"`
}

// ChainWeights are the weights in use.
var ChainWeights = Weights{Smooth: 1, Own: 0.12, Fade: 0.85}

// Next is a game with its score.
type Next struct {
	Game  string
	Score float64
}

// Ranker ranks next games by the counts of a Chain and the player's own latest games. It is
// immutable.
type Ranker struct {
	weights Weights
	after   map[string][]Next // by game: the likeliest next games, best first
	popular []Next
}

// rankedKept is how many next games a Ranker keeps for each game.
const rankedKept = 32

// Ranker returns a Ranker of the counts so far.
func (c *Chain) Ranker() *Ranker { return c.RankerBy(ChainWeights) }

// RankerBy is Ranker with other weights.
func (c *Chain) RankerBy(w Weights) *Ranker {
	r := &Ranker{weights: w, after: make(map[string][]Next, len(c.counts))}
	r.popular = best(c.popular, func(n float64) float64 { return n / c.all })
	for game, row := range c.counts {
		list := best(row, func(n float64) float64 { return n / (c.totals[game] + w.Smooth) })
		for i := range list {
			list[i].Score += w.Smooth * c.popular[list[i].Game] / c.all / (c.totals[game] + w.Smooth)
		}
		r.after[game] = list
	}
	return r
}

// best returns the rankedKept games with the highest scores, best first.
func best(counts map[string]float64, score func(n float64) float64) []Next {
	list := make([]Next, 0, len(counts))
	for game, n := range counts {
		list = append(list, Next{game, score(n)})
	}
	sortNext(list)
	return slices.Clone(list[:min(rankedKept, len(list))])
}

func sortNext(list []Next) {
	slices.SortFunc(list, func(a, b Next) int {
		return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(a.Game, b.Game))
	})
}

// Knows reports whether players were seen to open something after the game.
func (r *Ranker) Knows(game string) bool { return len(r.after[game]) > 0 }

// Rank returns the n likeliest next games of a player. recent has the player's latest
// games, the latest first.
func (r *Ranker) Rank(recent []string, n int) []Next {
	if len(recent) == 0 {
		return nil
	}
	list := make([]Next, 0, 2*rankedKept)
	list = append(list, r.after[recent[0]]...)
	add := func(game string, score float64) {
		if i := slices.IndexFunc(list, func(x Next) bool { return x.Game == game }); i >= 0 {
			list[i].Score += score
			return
		}
		list = append(list, Next{game, score})
	}
	own := r.weights.Own
	for _, game := range recent {
		add(game, own)
		own *= r.weights.Fade
	}
	for _, p := range r.popular[:min(n, len(r.popular))] { // fills up if little is known about the game
		add(p.Game, p.Score*1e-3)
	}
	sortNext(list)
	return list[:min(n, len(list))]
}

// After returns the n likeliest games after a game, for any player: a Markov chain, smoothed
// by the games' popularity.
func (r *Ranker) After(game string, n int) []Next {
	known := r.after[game]
	list := slices.Clone(known[:min(n, len(known))])
	for _, p := range r.popular {
		if len(list) >= n {
			break
		}
		if !slices.ContainsFunc(list, func(x Next) bool { return x.Game == p.Game }) {
			list = append(list, p)
		}
	}
	return list
}
