package decide

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"github.com/go-json-experiment/json"

	"pitboss/internal/event"
	"pitboss/internal/journal"
)

// forgotten has alice decided on, and then so often, three seconds apart, that her
// contact history remembers the first no more: that event, and what it was answered with.
func forgotten(t *testing.T, w *world, f *Function, since *atomic.Int64) (first, was *ce.Event) {
	t.Helper()
	w.adult("alice", "GB")
	w.happen("alice", event.TypeGameFailed, noon.Add(-time.Second), event.GameFailed{Game: "book", Product: "casino", Error: "timeout"})
	first = w.scored("alice", calm)
	was, _ = handle(t, f, first)
	for range 300 { // the history keeps 256
		since.Add(int64(3 * time.Second))
		handle(t, f, w.scored("alice", calm))
	}
	return first, was
}

// An event is decided on once, however many decisions about the player came in
// between: beyond the contact history's memory the journal knows.
func TestARedeliveryIsRecalledBeyondTheHistory(t *testing.T) {
	t.Parallel()
	w := newWorld(t, true)
	var since atomic.Int64 // the clock, as the time since noon
	clock := func() time.Time { return noon.Add(time.Duration(since.Load())) }
	f := w.functionAt(clock)
	first, was := forgotten(t, w, f, &since)
	for _, f := range []*Function{f, w.functionAt(clock)} { // the same instance, and one that knows nothing
		again, _ := handle(t, f, first)
		if again == nil || again.ID() != was.ID() || string(again.Data()) != string(was.Data()) {
			t.Fatalf("was %s, now %v", was, again)
		}
	}
	n := 0
	shard, err := journal.ShardOf(was.ID())
	if err != nil {
		t.Fatal(err)
	}
	if err := f.journal.Each(t.Context(), shard, 0, true, func(e *journal.Entry) error {
		if strings.Contains(string(e.Open), was.ID()) {
			n++
		}
		return nil
	}); err != nil || n != 1 {
		t.Fatalf("%d entries of one decision, %v", n, err)
	}
}

// A redelivery that profile answers anew is as of the player's latest event by
// then. It is still the event it was, and is decided on once.
func TestARedeliveryThatIsMadeAnewIsRecalled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, true)
	var since atomic.Int64
	f := w.functionAt(func() time.Time { return noon.Add(time.Duration(since.Load())) })
	first, was := forgotten(t, w, f, &since)
	anew := w.scored("alice", calm)
	anew.SetID(first.ID())
	data, err := event.Decode[event.PlayerScored](anew)
	if err != nil {
		t.Fatal(err)
	}
	data.AsOf = noon.Add(time.Duration(since.Load()))
	if anew.DataEncoded, err = json.Marshal(data); err != nil {
		t.Fatal(err)
	}
	again, _ := handle(t, f, anew)
	if again == nil || again.ID() != was.ID() || string(again.Data()) != string(was.Data()) {
		t.Fatalf("was %s, now %v", was, again)
	}
}

// What nobody can tell any more whether it was decided on is refused for good:
// a retry would change nothing, and a second decision might be a second message.
func TestAnEventOfTheDayBeforeIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, true)
	w.adult("alice", "GB")
	e := w.scored("alice", calm)
	f := w.functionAt(func() time.Time { return noon.Add(24*time.Hour + time.Second) })
	if _, err := f.Handle(context.Background(), *e); err == nil || !strings.Contains(err.Error(), "24 hours old") {
		t.Fatalf("%v", err)
	}
	f = w.functionAt(func() time.Time { return noon.Add(23 * time.Hour) })
	if out, _ := handle(t, f, e); out == nil || out.Type() != event.TypeSuppressed {
		t.Fatalf("%v", out)
	}
}
