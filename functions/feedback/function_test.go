package feedback

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	ce "github.com/cloudevents/sdk-go/v2/event"
	"github.com/go-json-experiment/json"

	"pitboss/internal/event"
	"pitboss/internal/journal"
	"pitboss/internal/player"
	"pitboss/internal/policy"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func start(t *testing.T) *Function {
	t.Helper()
	f := New()
	f.now = func() time.Time { return noon }
	if err := f.Start(context.Background(), map[string]string{"REDIS_URL": "redis://" + miniredis.RunT(t).Addr()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Stop(context.Background()) })
	return f
}

func told(t *testing.T, id, typ, name string, data any) ce.Event {
	t.Helper()
	e := ce.New()
	e.SetID(name)
	e.SetSource("/team/crm")
	e.SetType(typ)
	e.SetSubject(id)
	e.SetTime(noon)
	body, err := json.Marshal(data)
	if err != nil {
		t.Fatal(err)
	}
	e.SetDataContentType(ce.ApplicationJSON)
	e.DataEncoded = body
	return e
}

// issued journals a recommendation that waits for review.
func issued(t *testing.T, f *Function, id string) string {
	t.Helper()
	decision := journal.DecisionID(id, "0123")
	_, err := f.journal.Record(t.Context(), id, journal.Anew, func(v journal.View) (*journal.Draft, error) {
		c := &policy.Contacts{Sent: []policy.Sent{{Decision: decision, At: noon, Expires: noon.Add(time.Hour), Kind: 'p', Status: policy.StatusOpen}}}
		return &journal.Draft{Kind: journal.KindDecision, Time: noon, Contacts: c, Decision: decision, Deadline: noon.Add(time.Hour),
			Open: []byte(`{"decision":"` + decision + `","result":{}}`), Personal: []byte(`{}`)}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return decision
}

func entries(t *testing.T, f *Function, id string) (kinds []string, last string) {
	t.Helper()
	err := f.journal.Each(t.Context(), player.Shard(id), 0, false, func(e *journal.Entry) error {
		kinds, last = append(kinds, e.Kind), string(e.Open)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return kinds, last
}

func TestOutcomes(t *testing.T) {
	t.Parallel()
	f := start(t)
	decision := issued(t, f, "p")
	delivered := told(t, "p", event.TypeDelivered, "o1", event.Outcome{Recommendation: decision, Channel: "in_app"})
	accepted := told(t, "p", event.TypeAccepted, "o2", event.Outcome{Recommendation: decision, Value: 120})
	for _, e := range []ce.Event{accepted, delivered, accepted, delivered} { // out of order, and twice
		if _, err := f.Handle(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	kinds, last := entries(t, f, "p")
	if len(kinds) != 3 || !strings.Contains(last, decision) || !strings.Contains(last, "delivered") {
		t.Fatalf("%v %s", kinds, last)
	}
	b, err := f.journal.Contacts(t.Context(), "p")
	if err != nil {
		t.Fatal(err)
	}
	if c, err := policy.ParseContacts(b); err != nil || c.Sent[0].Status != policy.StatusAccepted {
		t.Fatalf("%+v %v", c, err)
	}
	if _, err := f.Handle(t.Context(), told(t, "q", event.TypeDelivered, "o3", event.Outcome{Recommendation: decision})); err == nil || !strings.Contains(err.Error(), "not one about") {
		t.Fatalf("an outcome of another player's decision: %v", err)
	}
}

// Two events are distinct, wherever their sources end and their ids begin.
func TestOutcomesWithSpacesInTheirIds(t *testing.T) {
	t.Parallel()
	f := start(t)
	decision := issued(t, f, "p")
	for _, name := range [][2]string{{"/a", "b c"}, {"/a b", "c"}} {
		e := told(t, "p", event.TypeDelivered, name[1], event.Outcome{Recommendation: decision})
		e.SetSource(name[0])
		if _, err := f.Handle(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if kinds, _ := entries(t, f, "p"); len(kinds) != 3 {
		t.Errorf("journaled are %v, want the decision and two outcomes", kinds)
	}
}

func TestReview(t *testing.T) {
	t.Parallel()
	f := start(t)
	decision := issued(t, f, "p")
	waiting, err := f.journal.Reviews(t.Context())
	if err != nil || len(waiting) != 1 || waiting[0].Decision != decision || !waiting[0].Deadline.Equal(noon.Add(time.Hour)) {
		t.Fatalf("%+v %v", waiting, err)
	}
	rec := told(t, "p", event.TypeRecommendation, "r1", event.Recommendation{Decision: decision, Action: "call", Kind: "protection", Review: true, DecidedAt: noon})
	out, err := f.Handle(t.Context(), rec)
	if err != nil || out.Type() != event.TypeReviewRequested || !strings.Contains(string(out.Data()), decision) {
		t.Fatalf("%v %v", out, err)
	}
	if _, err := f.Handle(t.Context(), told(t, "p", event.TypeReviewDecided, "v1", event.ReviewDecided{Decision: decision, Verdict: "overturned", By: "ann"})); err != nil {
		t.Fatal(err)
	}
	if waiting, err := f.journal.Reviews(t.Context()); err != nil || len(waiting) != 0 {
		t.Fatalf("%+v %v", waiting, err)
	}
	if kinds, last := entries(t, f, "p"); len(kinds) != 2 || !strings.Contains(last, `"overturned"`) {
		t.Fatalf("%v %s", kinds, last)
	}
}
