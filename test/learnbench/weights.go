package main

import (
	"time"

	"pitboss/internal/learn"
)

// move is a player who opened a game after others.
type move struct {
	at     time.Time
	recent []string
	game   string
}

// searchEvery is the most rounds that the rankers are behind in the search.
const searchEvery = 200

// searchWeights searches the chain's weights on the part that the models were trained on.
// The chain learns from the beginning, and hits count in the second half. It never reads
// what comes after cut.
func searchWeights(moves []move, cut time.Time) (best learn.Weights, hr, inUse float64) {
	grid := []learn.Weights{learn.ChainWeights}
	for _, smooth := range []float64{0.3, 1, 3, 10} {
		for _, own := range []float64{0.03, 0.06, 0.12, 0.25, 0.5} {
			for _, fade := range []float64{0.7, 0.85, 0.95} {
				grid = append(grid, learn.Weights{Smooth: smooth, Own: own, Fade: fade})
			}
		}
	}
	n := 0
	for n < len(moves) && moves[n].at.Before(cut) {
		n++
	}
	moves = moves[:n]
	hits := make([]int, len(grid))
	rankers := make([]*learn.Ranker, len(grid))
	chain := learn.NewChain()
	for i, m := range moves {
		if i >= n/2 {
			for k, w := range grid {
				if rankers[k] == nil || i%searchEvery == 0 {
					rankers[k] = chain.RankerBy(w)
				}
				if among(rankers[k].Rank(m.recent, 5), m.game) {
					hits[k]++
				}
			}
		}
		chain.Add(m.recent[0], m.game, 1)
	}
	top := 0
	for k := range grid {
		if hits[k] > hits[top] {
			top = k
		}
	}
	counted := float64(max(1, n-n/2))
	return grid[top], float64(hits[top]) / counted, float64(hits[0]) / counted
}
