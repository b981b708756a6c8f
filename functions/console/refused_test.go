package console_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pitboss/internal/event"
)

type shownRefusal struct {
	Trigger, Reason string
	Code            int
}

// refusedOf returns why an event on the player's timeline was refused.
func (s *served) refusedOf(player, id string) []shownRefusal {
	s.t.Helper()
	var page struct {
		Events []struct {
			ID      string
			Refused []shownRefusal
		}
	}
	s.get("/api/players/"+player, &page)
	for _, e := range page.Events {
		if e.ID == id {
			return e.Refused
		}
	}
	s.t.Fatalf("%s is not on the timeline of %s: %+v", id, player, page.Events)
	return nil
}

// deadLetter sends a dead letter of a Trigger, as Knative does.
func (s *served) deadLetter(service, id, player, reason string) {
	s.t.Helper()
	status := s.postTo("/deadletters", event.TypeRoundSettled, id, player, map[string]string{
		"knativeerrordest": "http://" + service + ".pitboss.svc.cluster.local/", "knativeerrorcode": "400",
		"knativeerrordata": base64.StdEncoding.EncodeToString([]byte(reason)),
	}, event.RoundSettled{Game: "g", Product: "casino", Stake: -5, Currency: "GBP"})
	if status != http.StatusAccepted {
		s.t.Fatalf("dead letter: %d", status)
	}
}

// An event that a function refused did not count. The timeline says who refused it and why,
// until it is replayed. Discarding the dead letter does not change that.
func TestATimelineSaysWhatWasRefused(t *testing.T) {
	t.Parallel()
	broker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) }))
	t.Cleanup(broker.Close)
	s := start(t, map[string]string{"K_SINK": broker.URL})
	s.deadLetter("pitboss-profile", "e1", "alice", "stake must be at least 0") // before the event itself
	for _, id := range []string{"e1", "e2", "e3"} {
		s.post(event.TypeRoundSettled, id, "alice", nil, event.RoundSettled{Game: "g", Product: "casino", Stake: -5, Currency: "GBP"})
	}
	s.deadLetter("pitboss-profile", "e3", "alice", "stake must be at least 0")
	s.deadLetter("team-crm", "e3", "alice", "no")
	s.deadLetter("team-crm", "e3", "alice", "no again")
	if got := s.refusedOf("alice", "e1"); len(got) != 1 || got[0] != (shownRefusal{"profile", "stake must be at least 0", 400}) {
		t.Errorf("e1: %+v", got)
	}
	if got := s.refusedOf("alice", "e2"); len(got) != 0 {
		t.Errorf("e2 was not refused: %+v", got)
	}
	if got := s.refusedOf("alice", "e3"); len(got) != 2 || got[0].Trigger != "profile" || got[1].Reason != "no again" {
		t.Errorf("e3: %+v", got)
	}
	if status := s.change("/api/deadletters/1/discard", struct{}{}, nil); status != http.StatusOK {
		t.Fatalf("discard: %d", status)
	}
	if got := s.refusedOf("alice", "e1"); len(got) != 1 {
		t.Errorf("e1 was discarded, and still did not count: %+v", got)
	}
	if status := s.change("/api/deadletters/replay", struct{}{}, nil); status != http.StatusOK {
		t.Fatalf("replay: %d", status)
	}
	if got := s.refusedOf("alice", "e3"); len(got) != 0 {
		t.Errorf("e3 was sent again: %+v", got)
	}
}

// The console reads the local Broker's dead letters. An event that fails again is refused again.
func TestATimelineSaysWhatTheLocalBrokerGaveUp(t *testing.T) {
	t.Parallel()
	var refused atomic.Int64 // how many dead letters there ever were
	refused.Store(1)
	broker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		letter := `{"id":"7","trigger":"pitboss-profile","code":400,"reason":"stake must be at least 0","at":"2026-01-02T03:04:05Z",` +
			`"event":{"specversion":"1.0","type":"` + event.TypeRoundSettled + `","source":"/test","id":"e1","subject":"alice"}}`
		switch {
		case strings.HasSuffix(r.URL.Path, "/stats"):
			_ = json.NewEncoder(w).Encode(map[string]any{"dead_letters": 1, "triggers": []any{map[string]any{"name": "pitboss-profile", "dead_lettered": refused.Load()}}})
		case strings.HasSuffix(r.URL.Path, "/replay"):
			_, _ = w.Write([]byte(`{"replayed":1}`))
		case strings.HasSuffix(r.URL.Path, "/7"):
			_, _ = w.Write([]byte(letter))
		default:
			_, _ = w.Write([]byte("[" + letter + "]"))
		}
	}))
	t.Cleanup(broker.Close)
	s := start(t, map[string]string{"BROKER_ADMIN_URL": broker.URL})
	s.post(event.TypeRoundSettled, "e1", "alice", nil, event.RoundSettled{Game: "g", Product: "casino", Stake: -5, Currency: "GBP"})
	wait := func(marks int) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			if len(s.refusedOf("alice", "e1")) == marks {
				return
			}
		}
		t.Fatalf("%+v, want %d", s.refusedOf("alice", "e1"), marks)
	}
	wait(1)
	if status := s.change("/api/deadletters/7/replay", struct{}{}, nil); status != http.StatusOK {
		t.Fatalf("replay: %d", status)
	}
	wait(0)
	refused.Add(1)
	wait(1)
}
