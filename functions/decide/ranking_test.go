package decide

import (
	"testing"
	"time"

	"pitboss/internal/event"
	"pitboss/internal/player"
)

// Games are ranked by what players open of late: one that no model knows, too. After
// a game that nobody was seen to leave, the model ranks if it knows the game; else
// the player's own games and the popular ones do. Nobody ranks where it is switched off.
func TestRanksByWhatIsOpenedNext(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	log := player.NewTransitionLog(w.rdb, func() time.Time { return noon })
	for range rankFrom {
		log.Note("reef", "brand-new")
	}
	if err := log.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	f := w.function("DECIDE_LEARN_POLL", "5ms")
	for f.ranker.Load() == nil {
		if err := t.Context().Err(); err != nil {
			t.Fatal(err)
		}
	}
	scored := &event.PlayerScored{Ranking: []event.Ranked{{Item: "old", Score: 0.7}, {Item: "cove", Score: 0.3}}}
	for recent, want := range map[string]string{"reef": "brand-new", "cove": "old", "newest": "newest"} {
		scored.Facts.RecentGames = []string{recent}
		if got := f.ranked(scored, nil); len(got) == 0 || got[0].Item != want {
			t.Errorf("after %s: %v, want %s", recent, got, want)
		}
	}
	if got := f.ranked(scored, []string{"model/next-game"}); got != nil {
		t.Errorf("switched off, it ranks %v", got)
	}
}
