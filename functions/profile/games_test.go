package profile

import (
	"context"
	"fmt"
	"testing"
	"time"

	"pitboss/internal/event"
	"pitboss/internal/player"
	"pitboss/test/redistest"
)

// Which game is opened after which is counted once, whatever is delivered again.
func TestGamesOpenedNextAreCounted(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t)
	f := newInstance(t, url)
	for i, game := range []string{"reef", "reef", "neon", "reef", "neon"} {
		data := fmt.Sprintf(`{"game":%q,"product":"casino","stake":10,"win":0,"currency":"EUR"}`, game)
		e := newEvent(fmt.Sprint(i), event.TypeRoundSettled, "p", start.Add(time.Duration(i)*time.Second), data)
		for range 2 {
			if _, err := f.Handle(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := f.Stop(context.Background()); err != nil { // flushes
		t.Fatal(err)
	}
	rdb := redistest.Client(t, url)
	got := map[player.Transition]int64{}
	err := player.EachTransition(t.Context(), rdb, start.Add(time.Hour), 2, func(tr player.Transition, _ int, n int64) { got[tr] += n })
	if err != nil {
		t.Fatal(err)
	}
	want := map[player.Transition]int64{{Game: "reef", Next: "reef"}: 1, {Game: "reef", Next: "neon"}: 2, {Game: "neon", Next: "reef"}: 1}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", got, want)
	}
}
