package console_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"pitboss/internal/event"
	"pitboss/internal/policy"
	"pitboss/test/redistest"
)

type shownTrouble struct {
	Code, What, Name, By, Note, Href string
	Since                            time.Time
}

func (s *served) troubles() map[string]shownTrouble {
	s.t.Helper()
	var live struct {
		Frame struct{ Troubles []shownTrouble }
	}
	s.get("/api/live", &live)
	out := map[string]shownTrouble{}
	for _, t := range live.Frame.Troubles {
		out[t.Code+" "+t.Name] = t
	}
	return out
}

// decide sends a decision of a place.
func (s *served) decide(n int, typ, jurisdiction, brand string, change func(*event.Recommendation)) {
	s.t.Helper()
	rec := event.Recommendation{Decision: fmt.Sprintf("s0001-%s%s%d", jurisdiction, brand, n), Action: "none", Kind: "marketing",
		Reasons: []event.Reason{{Code: "nothing-eligible", Text: "Nothing is worth sending."}}, DecidedAt: time.Now().UTC()}
	if change != nil {
		change(&rec)
	}
	if got := s.post(typ, rec.Decision, "alice", map[string]string{"jurisdiction": jurisdiction, "brand": brand}, rec); got != http.StatusAccepted {
		s.t.Fatalf("decision: %d", got)
	}
}

// A place that used to issue something and no longer does is a trouble, with since when and
// where to look. A place that never issues much is none.
func TestAPlaceThatGetsNothingIsTold(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	for i := range 40 {
		s.decide(i, event.TypeRecommendation, "GB", "one", nil)
		s.decide(i, event.TypeRecommendation, "SE", "two", nil)
	}
	for i := range 190 {
		s.decide(1000+i, event.TypeSuppressed, "GB", "one", nil)
		s.decide(1000+i, event.TypeSuppressed, "SE", "two", nil)
	}
	if got := s.troubles(); len(got) != 0 {
		t.Fatalf("troubles before their time: %v", got)
	}
	for i := range 20 {
		s.decide(2000+i, event.TypeSuppressed, "GB", "one", nil)
	}
	got := s.troubles()
	gb := got["place-starved GB"]
	if len(got) != 2 || gb.What != "jurisdiction" || gb.Href != "/decisions?jurisdiction=GB" || gb.Since.IsZero() || time.Since(gb.Since) > time.Minute || got["place-starved one"].What != "brand" {
		t.Errorf("troubles: %+v", got)
	}
	s.decide(3000, event.TypeRecommendation, "GB", "one", nil)
	if got := s.troubles(); len(got) != 0 {
		t.Errorf("something was issued again, and still: %v", got)
	}
	var live struct {
		Frame struct {
			Places map[string][]struct {
				Name                              string
				Decided, Issued, Blocked, Nothing int64
			}
		}
	}
	s.get("/api/live", &live)
	if p := live.Frame.Places["jurisdiction"]; len(p) != 2 || p[0].Name != "GB" || p[0].Decided != 251 || p[0].Issued != 41 || p[0].Nothing != 210 || p[0].Blocked != 0 {
		t.Errorf("places: %+v", p)
	}
}

func TestASilentModelIsTold(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	known := func(r *event.Recommendation) { r.Scores = map[string]float64{"leave": .2, "harm": .1} }
	without := func(code string) func(r *event.Recommendation) {
		return func(r *event.Recommendation) {
			r.Scores = map[string]float64{"leave": .2}
			r.Reasons = append(r.Reasons, event.Reason{Code: code + "harm", Text: "The harm model does not know players like this one."})
		}
	}
	unknown := without(policy.NotRated)
	for i := range 400 { // they are no trouble and hide none
		s.decide(1000+i, event.TypeRecommendation, "GB", "one", without(policy.TooNew))
	}
	for i := range 90 {
		s.decide(i, event.TypeRecommendation, "GB", "one", known)
	}
	for i := range 8 {
		s.decide(100+i, event.TypeRecommendation, "GB", "one", unknown)
	}
	if got := s.troubles(); len(got) != 0 {
		t.Fatalf("a few are no trouble: %v", got)
	}
	for i := range 8 {
		s.decide(200+i, event.TypeRecommendation, "GB", "one", unknown)
	}
	if got := s.troubles(); len(got) != 1 || got["model-silent harm"].Href != "/models" || got["model-silent harm"].Since.IsZero() {
		t.Errorf("troubles: %+v", got)
	}
	var live struct {
		Frame struct {
			Models []struct {
				Name    string
				N       int64
				Missing float64
				TooNew  float64 `json:"too_new"`
			}
		}
	}
	s.get("/api/live", &live)
	if m := live.Frame.Models; len(m) != 2 || m[0].Name != "harm" || m[0].N != 506 || m[0].Missing != 16.0/106 || m[0].TooNew != 400.0/506 {
		t.Errorf("models: %+v", m)
	}
}

func TestASwitchIsATrouble(t *testing.T) {
	t.Parallel()
	s := start(t, map[string]string{"REDIS_URL": redistest.Start(t)})
	if status := s.change("/api/switches", map[string]any{"what": "action", "name": "free_spins", "on": true, "note": "a complaint"}, nil); status != http.StatusOK {
		t.Fatalf("turn: %d", status)
	}
	var got shownTrouble
	for deadline := time.Now().Add(10 * time.Second); got.Name == "" && time.Now().Before(deadline); {
		got = s.troubles()["switch-on free_spins"]
	}
	if got.By != "local" || got.Note != "a complaint" || got.Href != "/rules" || got.What != "action" || time.Since(got.Since) > time.Minute {
		t.Errorf("%+v", got)
	}
}
