package decide

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	ce "github.com/cloudevents/sdk-go/v2/event"
	"github.com/go-json-experiment/json"

	"pitboss/internal/event"
	"pitboss/internal/feature"
	"pitboss/internal/player"
	"pitboss/internal/setup"
	"pitboss/test/redistest"
	"pitboss/test/shipped"
)

// world is a Redis with players, folded as profile does, and functions that
// decide about them.
type world struct {
	tb    testing.TB
	url   string
	set   *feature.Set
	store *player.Store[feature.State]
	rdb   setup.Client
	n     int
}

// now is noon in all of Europe.
var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func newWorld(tb testing.TB, real bool) *world {
	tb.Helper()
	if real {
		return newWorldAt(tb, redistest.Start(tb))
	}
	return newWorldAt(tb, "redis://"+miniredis.RunT(tb).Addr())
}

func newWorldAt(tb testing.TB, url string) *world {
	tb.Helper()
	w := &world{tb: tb, url: url, set: shipped.Features(tb)}
	var err error
	if w.rdb, err = setup.Redis(context.Background(), w.url); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = w.rdb.Close() })
	w.store = player.NewStore(w.rdb, w.set, player.Config{})
	return w
}

// function is a started decide, of which there may be several.
func (w *world) function(opts ...string) *Function {
	w.tb.Helper()
	return w.functionAt(func() time.Time { return noon }, opts...)
}

// functionAt is one with another clock. It is set before the start: what the
// function does in the background reads it.
func (w *world) functionAt(now func() time.Time, opts ...string) *Function {
	w.tb.Helper()
	cfg := map[string]string{"REDIS_URL": w.url, "MODELS_DIR": "../../models"}
	for i := 0; i < len(opts); i += 2 {
		cfg[opts[i]] = opts[i+1]
	}
	f := New()
	f.now = now
	if err := f.Start(context.Background(), cfg); err != nil {
		w.tb.Fatal(err)
	}
	w.tb.Cleanup(func() { _ = f.Stop(context.Background()) })
	return f
}

// happen folds an event into the player's state.
func (w *world) happen(id, typ string, at time.Time, data any) *ce.Event {
	w.tb.Helper()
	e := w.event(id, typ, at, data)
	w.fold(e)
	return e
}

func (w *world) fold(e *ce.Event) {
	w.tb.Helper()
	r, err := event.Parse(e, noon.Add(time.Hour))
	if err != nil {
		w.tb.Fatal(err)
	}
	_, err = w.store.Update(context.Background(), r.Subject, player.Op[feature.State]{Key: r.Key(), Fold: func(s *feature.State, dup bool, due uint8) (player.Effects, error) {
		_, err := w.set.Fold(s, r)
		return player.Effects{}, err
	}})
	if err != nil {
		w.tb.Fatal(err)
	}
}

func (w *world) event(id, typ string, at time.Time, data any) *ce.Event {
	w.tb.Helper()
	w.n++
	e := ce.New()
	e.SetID(fmt.Sprintf("e%d", w.n))
	e.SetSource("/platform/test")
	e.SetType(typ)
	e.SetSubject(id)
	e.SetTime(at)
	body, err := json.Marshal(data)
	if err != nil {
		w.tb.Fatal(err)
	}
	e.SetDataContentType(ce.ApplicationJSON)
	e.DataEncoded = body
	return &e
}

// adult registers a player who opted in to everything.
func (w *world) adult(id, jurisdiction string) {
	w.happen(id, event.TypeAccountRegistered, noon.Add(-time.Hour), event.AccountRegistered{Jurisdiction: jurisdiction,
		BirthDate: "1986-01-01", Brand: "acme", Currency: "EUR"})
	w.happen(id, event.TypeAccountUpdated, noon.Add(-time.Hour), event.Account{TimeZone: "Europe/Berlin"})
	w.happen(id, event.TypeConsentChanged, noon.Add(-time.Hour), event.ConsentChanged{Product: "all", Channel: "all", Granted: true})
}

// scored is player.scored about the player's current state.
func (w *world) scored(id string, scores map[string]float64, next ...event.Ranked) *ce.Event {
	w.tb.Helper()
	st, version, err := w.store.Read(context.Background(), id)
	if err != nil {
		w.tb.Fatal(err)
	}
	data := event.PlayerScored{PlayerUpdated: event.PlayerUpdated{Version: version.String(), AsOf: noon, FeatureSet: w.set.Hash(),
		Trigger: event.Trigger{Type: event.TypeRoundSettled, Source: "/platform/test", ID: "t", Time: noon},
		Due:     []string{"test"}, Features: w.set.AppendJSON(nil, w.set.Vector(nil, st, noon)), Facts: w.set.Facts(st)},
		Scores: scores, Ranking: next, Models: []event.ModelRun{
			{Name: "leave", Version: "v1", SHA256: "00", Output: "leave", Score: scores["leave"]},
			{Name: "harm", Version: "v1", SHA256: "01", Output: "harm", Score: scores["harm"]}}}
	return w.event(id, event.TypePlayerScored, noon, data)
}

// calm is a player who is about to leave and whom no marker of harm shows.
var calm = map[string]float64{"leave": 0.9, "harm": 0.05}

func handle(tb testing.TB, f *Function, e *ce.Event) (*ce.Event, *event.Recommendation) {
	tb.Helper()
	out, err := f.Handle(context.Background(), *e)
	if err != nil {
		tb.Fatal(err)
	}
	if out == nil {
		return nil, nil
	}
	rec, err := event.Decode[event.Recommendation](out)
	if err != nil {
		tb.Fatal(err)
	}
	return out, rec
}

// decideCall is one player.scored being handled, and what came of it.
type decideCall struct {
	f        *Function
	e        *ce.Event
	issued   string // decision of what is not protection; else empty
	answered time.Time
}

func (c *decideCall) run(tb testing.TB) {
	out, err := c.f.Handle(context.Background(), *c.e)
	c.answered = time.Now()
	if err != nil {
		tb.Error(err)
		return
	}
	if out.Type() == event.TypeRecommendation && out.Extensions()[event.ExtKind] != "protection" {
		c.issued = out.ID()
	}
}
