package decide

import (
	"context"
	"math"
	"slices"

	"pitboss/internal/event"
	"pitboss/internal/learn"
	"pitboss/internal/player"
	"pitboss/internal/policy"
	"pitboss/internal/setup"
)

// The ranking of next games learns from the games that players opened in the last
// week. Each day counts rankFade times as much as the next. With fewer than rankFrom
// rounds the model's ranking is used.
const (
	rankDays = 7
	rankFade = 0.7
	rankFrom = 500
	rankKept = 5
	rankName = "next-game"
)

// takeRanking learns the ranking from the games that players opened after each other.
func (f *Function) takeRanking(ctx context.Context, rdb setup.Client) error {
	chain, rounds := learn.NewChain(), 0.0
	err := player.EachTransition(ctx, rdb, f.now(), rankDays, func(t player.Transition, ago int, n int64) {
		weight := float64(n) * math.Pow(rankFade, float64(ago))
		chain.Add(t.Game, t.Next, weight)
		rounds += weight
	})
	if err == nil && rounds >= rankFrom {
		f.ranker.Store(chain.Ranker())
	}
	return err
}

// ranked returns the ranking of next games for a decision: the learned one, or the
// model's if too little is learned, or if the model ranks the player's last game and
// nobody was seen to open another game after it. It is nil while the model's kill
// switch is on.
func (f *Function) ranked(data *event.PlayerScored, switches []string) []event.Ranked {
	if slices.Contains(switches, policy.Switch("model", rankName)) {
		return nil
	}
	r := f.ranker.Load()
	recent := data.Facts.RecentGames
	if r == nil || len(recent) == 0 {
		return data.Ranking
	}
	modelled := slices.ContainsFunc(data.Ranking, func(n event.Ranked) bool { return n.Item == recent[0] })
	if modelled && !r.Knows(recent[0]) {
		return data.Ranking
	}
	out := make([]event.Ranked, 0, rankKept)
	for _, n := range r.Rank(recent, rankKept) {
		out = append(out, event.Ranked{Item: n.Game, Score: n.Score})
	}
	return out
}
