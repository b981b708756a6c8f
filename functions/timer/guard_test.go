package timer

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"pitboss/internal/event"
	"pitboss/internal/journal"
	"pitboss/internal/policy"
	"pitboss/test/redistest"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// guarded returns the guard rail of a timer, which looks when the test says so, and what the timer POSTs.
func guarded(t *testing.T, url string) (g *guard, told *atomic.Int64) {
	t.Helper()
	told = new(atomic.Int64)
	broker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Ce-Type") == event.TypeSwitchTurned {
			told.Add(1)
		}
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(broker.Close)
	dir := t.TempDir()
	actions, err := os.ReadFile("../../models/actions.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(actions), "holdout: 0.05", "holdout: 0.3", 1)
	if err := os.WriteFile(filepath.Join(dir, "actions.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	f := New()
	err = f.Start(context.Background(), map[string]string{"REDIS_URL": url, "K_SINK": broker.URL, "MODELS_DIR": dir, "TIMER_EVERY": "0", "GUARD_EVERY": "0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Stop(context.Background()) })
	f.now = func() time.Time { return noon.Add(25 * time.Hour) }
	f.cfg.GuardEvery = time.Minute
	return f.newGuard(), told
}

// decided journals a decision about a player.
func decided(t *testing.T, j *journal.Journal, player string, at time.Time, d policy.Decision) {
	t.Helper()
	id := journal.DecisionID(player, fmt.Sprint(at.UnixNano()))
	d.Policy = "00"
	r := policy.Record{Input: policy.Input{Decision: id, Player: player, Now: at, AsOf: at, StateVersion: "00", Contacts: &policy.Contacts{}}, Decision: d}
	_, err := j.Record(t.Context(), player, journal.Anew, func(journal.View) (*journal.Draft, error) {
		open, personal := r.Split()
		return &journal.Draft{Kind: journal.KindDecision, Time: at, Open: open, Personal: personal, Contacts: &policy.Contacts{}, Decision: id}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// message makes a decision of the greedy arm that sends an action or holds it back.
func message(action string, held bool) policy.Decision {
	d := policy.Decision{Issued: !held, Action: action, Kind: policy.Marketing, Arm: "greedy", Propensity: 1,
		Candidates: []policy.Candidate{{Action: action, Kind: policy.Marketing, Value: 10, Propensity: 1}}}
	if held {
		d.Arm, d.Holdout = policy.HoldoutArm, true
	}
	return d
}

// The guard rail stops an action after which players show markers of harm while held-out
// players do not, and sends an event. It does not stop a harmless action. An instance that
// takes over counts nobody twice.
func TestTheGuardRailStopsWhatHarms(t *testing.T) {
	t.Parallel()
	g, told := guarded(t, redistest.Start(t))
	for i := range 900 {
		player, action, held := fmt.Sprint("p", i), []string{"free_spins", "payment_help"}[i%2], i%10 < 3
		decided(t, g.journal, player, noon.Add(time.Duration(i)*time.Millisecond), message(action, held))
		if action == "free_spins" && !held && i%3 > 0 {
			later := policy.Decision{Action: policy.NoAction, Arm: "greedy", Markers: []policy.Marker{{ID: "chasing", Group: "g", Strength: "low", At: noon.Add(time.Hour)}}}
			decided(t, g.journal, player, noon.Add(time.Hour), later)
		}
	}
	for range 2 {
		if err := g.round(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	on, err := g.journal.Switches(t.Context())
	if err != nil || len(on) != 1 || on[0].Switch != "action/free_spins" || on[0].By != "guard rail" || !strings.Contains(on[0].Reason, "held out") {
		t.Fatalf("%+v %v", on, err)
	}
	if told.Load() != 1 {
		t.Errorf("told of %d times", told.Load())
	}
	other := g.f.newGuard()
	if err := other.round(t.Context()); err != nil || other.mine {
		t.Fatalf("two instances work at once: %v", err)
	}
	other.me = g.me // it holds the lease now
	if err := other.round(t.Context()); err != nil {
		t.Fatal(err)
	}
	a, b := asText(t, g.effects.All()), asText(t, other.effects.All())
	if a != b || len(g.effects) != 8 {
		t.Errorf("found before %s\nand after %s", a, b)
	}
}

// An action that a person has let go is stopped again only by new evidence, whichever
// instance looks.
func TestWhatPeopleLetGoIsStoppedForNewHarmOnly(t *testing.T) {
	t.Parallel()
	g, told := guarded(t, redistest.Start(t))
	now := noon
	g.f.now = func() time.Time { return now.Add(25 * time.Hour) }
	harm := func(group string, n int) {
		t.Helper()
		for i := range n {
			player, held := fmt.Sprint(group, i), i%10 < 3
			decided(t, g.journal, player, now.Add(time.Duration(i)*time.Millisecond), message("free_spins", held))
			if !held {
				decided(t, g.journal, player, now.Add(time.Hour), policy.Decision{Action: policy.NoAction, Arm: "greedy",
					Markers: []policy.Marker{{ID: "chasing", Group: "g", Strength: "low", At: now.Add(time.Hour)}}})
			}
		}
	}
	step := func(want bool) {
		t.Helper()
		for range 2 { // the second sees what the first did
			if err := g.round(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		on, err := g.journal.Switches(t.Context())
		if err != nil || (len(on) == 1) != want {
			t.Fatalf("stopped: %+v, want %v (%v)", on, want, err)
		}
	}
	harm("before-", 450)
	step(true)
	off := journal.SwitchChange{Switch: "action/free_spins", By: "two people", Reason: "known", At: now}
	if err := g.journal.TurnOff(t.Context(), off, now.Add(48*time.Hour)); err != nil {
		t.Fatal(err)
	}
	step(false)
	other := g.f.newGuard() // takes over after a restart
	other.me, g = g.me, other
	step(false)
	now = now.Add(48 * time.Hour)
	harm("since-", 450)
	step(true)
	if told.Load() != 2 {
		t.Errorf("told of %d times", told.Load())
	}
}

func asText(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
