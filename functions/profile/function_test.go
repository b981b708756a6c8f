package profile

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	ce "github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"pgregory.net/rapid"

	"pitboss/internal/event"
	"pitboss/internal/player"
	"pitboss/internal/simulator"
	"pitboss/test/redistest"
)

const models = "../../models"

var start = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// newInstance starts profile as func-go would; its clock stands at start + 1 h.
func newInstance(t interface{ Fatal(...any) }, url string) *Function {
	f := New()
	f.now = func() time.Time { return start.Add(time.Hour) }
	if err := f.Start(context.Background(), map[string]string{"REDIS_URL": url, "MODELS_DIR": models}); err != nil {
		t.Fatal(err)
	}
	return f
}

func urls(t *testing.T) map[string]string {
	return map[string]string{"redis-server": redistest.Start(t), "miniredis": "redis://" + miniredis.RunT(t).Addr()}
}

func newEvent(id, typ, player string, at time.Time, data string) ce.Event {
	e := ce.New()
	e.SetID(id)
	e.SetSource("/test")
	e.SetType(typ)
	e.SetSubject(player)
	e.SetTime(at)
	e.SetDataContentType(ce.ApplicationJSON)
	e.DataEncoded = []byte(data)
	return e
}

func status(err error) int {
	var res *cehttp.Result
	if errors.As(err, &res) {
		return res.StatusCode
	}
	if err != nil {
		return http.StatusInternalServerError
	}
	return http.StatusOK
}

const round = `{"game":"g","product":"casino","stake":10,"win":0,"currency":"EUR"}`

func TestStatus(t *testing.T) {
	t.Parallel()
	f := newInstance(t, redistest.Start(t))
	for name, c := range map[string]struct {
		e    ce.Event
		want int
	}{
		"a platform event":         {newEvent("1", event.TypeRoundSettled, "p", start, round), 200},
		"reminder.due":             {newEvent("2", event.TypeReminderDue, "p", start, `{"reminder":"idle_after_fail","due":"2026-06-01T12:00:00Z"}`), 200},
		"an unknown reminder":      {newEvent("3", event.TypeReminderDue, "p", start, `{"reminder":"nobody","due":"2026-06-01T12:00:00Z"}`), 200},
		"a schema violation":       {newEvent("4", event.TypeRoundSettled, "p", start, `{"game":"g"}`), 400},
		"an unknown type":          {newEvent("5", "pitboss.round.lost.v1", "p", start, round), 400},
		"another function's event": {newEvent("6", event.TypePrivacyErase, "p", start, `{"request":"r"}`), 200},
		"its own reply":            {newEvent("7", event.TypePlayerUpdated, "p", start, `{}`), 200},
		"from the future":          {newEvent("8", event.TypeRoundSettled, "p", start.Add(2*time.Hour), round), 400},
		"no player":                {newEvent("9", event.TypeRoundSettled, "", start, round), 400},
		// Nobody promised that ids are tame.
		"a player id with colon and braces": {newEvent(":{}", event.TypeGameFailed, "p:{s0001}:r", start, `{"game":"g","error":"e"}`), 200},
		"a player id with NUL":              {newEvent("13", event.TypeGameFailed, "p\x00r", start, `{"game":"g","error":"e"}`), 400},
		"an event from 1971":                {newEvent("10", event.TypeRoundSettled, "old", time.Date(1971, 1, 1, 0, 0, 0, 0, time.UTC), round), 200},
		"an event from 1970":                {newEvent("14", event.TypeRoundSettled, "old", time.Unix(1, 0), round), 400},
		"a stake of 2^53-1":                 {newEvent("11", event.TypeRoundSettled, "whale", start, `{"game":"g","product":"casino","stake":9007199254740991,"win":9007199254740991,"currency":"EUR"}`), 200},
		"a stake of 2^53":                   {newEvent("15", event.TypeRoundSettled, "whale", start, `{"game":"g","product":"casino","stake":9007199254740992,"win":0,"currency":"EUR"}`), 400},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := f.Handle(context.Background(), c.e)
			if got := status(err); got != c.want {
				t.Fatalf("status %d (%v), want %d", got, err, c.want)
			}
		})
	}
	t.Run("lets by what is another function's", func(t *testing.T) {
		for _, typ := range []string{event.TypePrivacyErase, event.TypePrivacyExport} {
			if _, err := f.Handle(context.Background(), newEvent("12", typ, "private", start, `{"request":"r"}`)); err != nil {
				t.Fatal(err)
			}
		}
		if _, v, err := f.store.Read(context.Background(), "private"); err != nil || v != (player.Version{}) {
			t.Fatalf("state at %s, %v: want none", v, err)
		}
	})
	t.Run("before Start", func(t *testing.T) {
		if _, err := New().Handle(context.Background(), newEvent("1", event.TypeRoundSettled, "p", start, round)); status(err) != 500 {
			t.Fatalf("%v, want a retryable error", err)
		}
		if ready, _ := New().Ready(context.Background()); ready {
			t.Fatal("ready")
		}
	})
}

func TestRedisDownIsRetried(t *testing.T) {
	t.Parallel()
	srv := redistest.New(t)
	f := newInstance(t, srv.URL())
	srv.Kill()
	e := newEvent("1", event.TypeRoundSettled, "p", start, round)
	if _, err := f.Handle(context.Background(), e); status(err) != 500 {
		t.Fatalf("%v, want a retryable error", err)
	}
	if ready, err := f.Ready(context.Background()); ready || err == nil {
		t.Fatal("ready without Redis")
	}
	if err := srv.Restart(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Handle(context.Background(), e); err != nil {
		t.Fatalf("after Redis came back: %v", err)
	}
}

// TestRedeliveryGivesTheSameReply: whichever instance gets the redelivered
// event, before or after others, the reply has the same id; the state has the
// event once.
func TestRedeliveryGivesTheSameReply(t *testing.T) {
	t.Parallel()
	for name, url := range urls(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b := newInstance(t, url), newInstance(t, url)
			handle := func(f *Function, e ce.Event) *ce.Event {
				t.Helper()
				out, err := f.Handle(context.Background(), e)
				if err != nil {
					t.Fatal(err)
				}
				return out
			}
			due := newEvent("due", event.TypePaymentFailed, "p", start, `{"operation":"deposit","amount":5,"currency":"EUR","error":"e"}`)
			first := handle(a, due)
			handle(b, newEvent("later", event.TypeRoundSettled, "p", start.Add(time.Minute), round))
			again, elsewhere := handle(a, due), handle(b, due)
			if first == nil || again == nil || elsewhere == nil {
				t.Fatalf("replies %v, %v, %v: a lost one is a lost recommendation", first, again, elsewhere)
			}
			if first.ID() != again.ID() || first.ID() != elsewhere.ID() || first.ID() != event.ReplyID("/test", "due", event.TypePlayerUpdated) {
				t.Fatalf("reply ids %s, %s, %s", first.ID(), again.ID(), elsewhere.ID())
			}
			d, err := event.Decode[event.PlayerUpdated](again)
			if err != nil {
				t.Fatal(err)
			}
			if len(d.Due) != 1 || d.Due[0] != "payment_failed" || d.Trigger.ID != "due" || len(d.Version) != 16 || d.FeatureSet != a.set.Hash() {
				t.Fatalf("reply %+v", d)
			}
			s, _, err := a.store.Read(context.Background(), "p")
			if err != nil {
				t.Fatal(err)
			}
			if applied, _ := s.Counts(); applied != 2 {
				t.Fatalf("%d events applied, want 2", applied)
			}
		})
	}
}

// history is 9 minutes of some simulated players: inside the lateness window.
func history(seed uint64, tag string) (events []ce.Event) {
	w := simulator.New(simulator.Config{Seed: seed, Players: 3, Start: start, Pace: 20})
	for {
		e := w.Next()
		if e.Time().Sub(start) > 9*time.Minute || len(events) == 36 {
			return events
		}
		e.SetSubject(tag + e.Subject())
		events = append(events, *e)
	}
}

var runs atomic.Int64

func vectors(t *rapid.T, f *Function, events []ce.Event) map[string][]float64 {
	out := map[string][]float64{}
	for i := range events {
		name := events[i].Subject()
		s, _, err := f.store.Read(context.Background(), name)
		if err != nil {
			t.Fatal(err)
		}
		applied, _ := s.Counts()
		out[name[len(name)-4:]] = append(f.set.Vector(nil, s, start.Add(10*time.Minute)), float64(applied))
	}
	return out
}

// TestAnyDeliveryEndsInTheSameState: real events and features, against the
// same events delivered once, in order, by one instance.
func TestAnyDeliveryEndsInTheSameState(t *testing.T) {
	t.Parallel()
	for name, url := range urls(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			instances := []*Function{newInstance(t, url), newInstance(t, url), newInstance(t, url)}
			rapid.Check(t, func(rt *rapid.T) {
				seed := rapid.Uint64().Draw(rt, "seed")
				n := runs.Add(1)
				plain, mixed := history(seed, fmt.Sprint("a", n, ":")), history(seed, fmt.Sprint("b", n, ":"))
				for i := range plain {
					if _, err := instances[0].Handle(context.Background(), plain[i]); err != nil {
						rt.Fatal(err)
					}
				}
				deliver(rt, instances, mixed)
				compare(rt, instances[0], vectors(rt, instances[0], plain), vectors(rt, instances[1], mixed))
			})
		})
	}
}

// TestClocksDoNotMatter: instances whose clocks run apart, and are set back and
// forth between two events, end in the state of one whose clock stands.
func TestClocksDoNotMatter(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t)
	still := newInstance(t, url)
	var off atomic.Int64
	drifting := []*Function{newInstance(t, url), newInstance(t, url)}
	for i, f := range drifting {
		f.now = func() time.Time {
			return start.Add(10*time.Minute + time.Duration(i)*20*time.Second + time.Duration(off.Load()))
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		n := runs.Add(1)
		plain, mixed := history(seed, fmt.Sprint("c", n, ":")), history(seed, fmt.Sprint("d", n, ":"))
		for i := range plain {
			if _, err := still.Handle(context.Background(), plain[i]); err != nil {
				rt.Fatal(err)
			}
		}
		for _, e := range rapid.Permutation(append(mixed, mixed...)).Draw(rt, "order") {
			off.Store(int64(rapid.IntRange(-55*60, 24*3600).Draw(rt, "clock is off by, seconds")) * int64(time.Second))
			e.SetExtension(event.ExtReceived, start.Add(10*time.Minute).Format(time.RFC3339Nano)) // by ingest's clock
			if _, err := drifting[rapid.IntRange(0, 1).Draw(rt, "instance")].Handle(context.Background(), e); err != nil {
				rt.Fatal(err)
			}
		}
		compare(rt, still, vectors(rt, still, plain), vectors(rt, still, mixed))
	})
}

// deliver sends events in a random order, some several times, concurrently,
// each delivery to a random instance; replies of one event must have one id.
func deliver(rt *rapid.T, instances []*Function, events []ce.Event) {
	order := rapid.Permutation(append(slices.Clone(events), events[:len(events)/2]...)).Draw(rt, "order")
	workers := rapid.IntRange(1, 6).Draw(rt, "workers")
	var wg sync.WaitGroup
	var next atomic.Int64
	var mu sync.Mutex
	replied := map[string]int{}
	for range workers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := next.Add(1) - 1; int(i) < len(order); i = next.Add(1) - 1 {
				out, err := instances[rand.N(len(instances))].Handle(context.Background(), order[i])
				if err != nil {
					rt.Errorf("%s: %v", order[i].Type(), err)
					return
				}
				mu.Lock()
				if out != nil {
					replied[order[i].ID()]++
				}
				mu.Unlock()
			}
		}()
	}
	wg.Wait()
	times := map[string]int{}
	for i := range order {
		times[order[i].ID()]++
	}
	for id, n := range replied {
		if n != times[id] {
			rt.Errorf("event %s: %d of %d deliveries were replied to", id, n, times[id])
		}
	}
}

func compare(rt *rapid.T, f *Function, want, got map[string][]float64) {
	if len(got) != len(want) {
		rt.Fatalf("%d players, want %d", len(got), len(want))
	}
	names := append(slices.Clone(f.set.Names()), "events applied")
	for player, w := range want {
		for i, g := range got[player] {
			if diff := math.Abs(g - w[i]); diff > 1e-9*math.Max(1, math.Abs(w[i])) {
				rt.Errorf("player %s: %s is %v, in order %v", player, names[i], g, w[i])
			}
		}
	}
}

// Who sends events that come too late to count is told so, by the time the
// instance has stopped; facts are never late.
func TestLateEventsAreToldByProducer(t *testing.T) {
	t.Parallel()
	url, ctx := redistest.Start(t), context.Background()
	f := newInstance(t, url)
	for i, at := range []time.Time{start, start.Add(-time.Hour), start.Add(-time.Hour), start.AddDate(-20, 0, 0)} {
		if _, err := f.Handle(ctx, newEvent(fmt.Sprint(i), event.TypeRoundSettled, "p", at, round)); err != nil {
			t.Fatal(err)
		}
	}
	undo := `{"game":"g","product":"casino","stake":99,"win":0,"currency":"EUR","round":"unknown","settled":"2026-06-01T10:00:00Z"}`
	if _, err := f.Handle(ctx, newEvent("undo", event.TypeRoundRolledback, "p", start, undo)); err != nil {
		t.Fatal(err)
	}
	if err := f.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	rdb := redistest.Client(t, url)
	got, err := player.ReadKeptOut(ctx, rdb, f.now(), 1)
	want := []player.KeptOut{{Day: "2026-06-01", Reason: "late", Source: "/test", Events: 3}, {Day: "2026-06-01", Reason: "unknown_round", Source: "/test", Events: 1}}
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("%v, %v; want %v", got, err, want)
	}
}
