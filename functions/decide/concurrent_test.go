package decide

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"pitboss/internal/event"
	"pitboss/internal/journal"
	"pitboss/internal/policy"
)

// tempted is a player whom free spins are the best thing for.
func (w *world) tempted(f *Function, prefix, jurisdiction string) string {
	id := w.greedy(f, prefix)
	w.adult(id, jurisdiction)
	w.rounds(id, 120)
	return id
}

// Many decisions about one player at once, on two instances: a cap lets
// through as many as it says, and Sweden gives one bonus ever.
func TestConcurrentDecisionsKeepCaps(t *testing.T) {
	t.Parallel()
	w := newWorld(t, true)
	fs := []*Function{w.function(), w.function()}
	for _, jurisdiction := range []string{"GB", "SE"} {
		id := w.tempted(fs[0], "cap-"+jurisdiction, jurisdiction)
		var wg sync.WaitGroup
		var mu sync.Mutex
		issued := map[string]int{}
		for i := range 32 {
			e := w.scored(id, calm)
			wg.Go(func() {
				for {
					out, err := fs[i%2].Handle(context.Background(), *e)
					if err != nil {
						continue // as the Broker does
					}
					if rec, _ := event.Decode[event.Recommendation](out); out.Type() == event.TypeRecommendation {
						mu.Lock()
						issued[rec.Action]++
						mu.Unlock()
					}
					return
				}
			})
		}
		wg.Wait()
		if issued["free_spins"] != 1 {
			t.Errorf("%s: issued %v, free spins are capped at 1", jurisdiction, issued)
		}
		b, err := fs[0].journal.Contacts(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		c, err := policy.ParseContacts(b)
		if err != nil || c.Bonuses != 1 || len(c.Made) != 32 {
			t.Errorf("%s: %d bonuses, %d decisions, %v", jurisdiction, c.Bonuses, len(c.Made), err)
		}
	}
	v, err := fs[0].journal.Verify(t.Context(), journal.Segments{})
	if err != nil || v.Entries != 64 || len(v.Findings) > 0 {
		t.Fatalf("%+v %v", v, err)
	}
}

// The same event on two instances at once is one decision.
func TestConcurrentRedeliveriesAgree(t *testing.T) {
	t.Parallel()
	w := newWorld(t, true)
	fs := []*Function{w.function(), w.function()}
	for round := range 20 {
		id := w.greedy(fs[0], fmt.Sprintf("twin%d", round))
		w.adult(id, "GB")
		w.happen(id, event.TypeGameFailed, noon.Add(-time.Second), event.GameFailed{Game: "book", Product: "casino", Error: "timeout"})
		e := w.scored(id, calm)
		var wg sync.WaitGroup
		out := make([]string, 8)
		for i := range out {
			wg.Go(func() {
				reply, err := fs[i%2].Handle(context.Background(), *e)
				if err != nil {
					t.Error(err)
					return
				}
				out[i] = reply.ID() + string(reply.Data())
			})
		}
		wg.Wait()
		if slices.Sort(out); out[0] != out[len(out)-1] {
			t.Fatalf("%s\n%s", out[0], out[len(out)-1])
		}
	}
}

// An exclusion is handled while decisions about the player keep coming in. No
// marketing, nor a prompt to play, stands once the exclusion was answered. How long the
// answer took is logged; it depends on the machine, so no test decides on it.
func TestExclusionActsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, true)
	fs := []*Function{w.function(), w.function()}
	var late []time.Duration
	for round := range 100 {
		id := w.greedy(fs[0], fmt.Sprintf("out%d", round))
		w.adult(id, "GB")
		w.happen(id, event.TypeGameFailed, noon.Add(-time.Second), event.GameFailed{Game: "book", Product: "casino", Error: "timeout"})
		var events []*decideCall
		for range 6 {
			events = append(events, &decideCall{f: fs[len(events)%2], e: w.scored(id, calm)})
		}
		excluded := w.event(id, event.TypeExcluded, noon, event.Excluded{Scheme: "GAMSTOP"})
		var wg sync.WaitGroup
		var posted, answered time.Time
		for i, c := range events {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 300 * time.Microsecond) // spread around the exclusion
				c.run(t)
			})
		}
		var revoked []string
		wg.Go(func() {
			time.Sleep(700 * time.Microsecond)
			posted = time.Now()
			_, rec := handle(t, fs[round%2], excluded)
			answered = time.Now()
			if rec != nil {
				revoked = rec.Revoked
			}
		})
		wg.Wait()
		for _, c := range events {
			if c.issued == "" || slices.Contains(revoked, c.issued) {
				continue // nothing, or taken back by the answer to the exclusion
			}
			t.Errorf("round %d: %s was issued and not revoked, %s after the exclusion", round, c.issued, c.answered.Sub(posted))
		}
		late = append(late, answered.Sub(posted))
	}
	slices.Sort(late)
	t.Logf("from the exclusion to the answer that revokes: p50 %s, slowest of %d %s", late[len(late)/2], len(late), late[len(late)-1])
}
