package decide

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pitboss/internal/event"
	"pitboss/internal/journal"
	"pitboss/internal/policy"
)

// notHeldOut is a player id whose arm is not the holdout and is greedy.
func (w *world) greedy(f *Function, prefix string) string {
	w.tb.Helper()
	for i := range 10000 {
		id := fmt.Sprintf("%s-%d", prefix, i)
		in := policy.Input{Decision: "x", Player: id, Now: noon, AsOf: noon, Contacts: &policy.Contacts{}, Features: make([]float64, len(w.set.Names()))}
		if d := f.policy.Decide(&in); d.Arm == "greedy" {
			return id
		}
	}
	w.tb.Fatal("no such player")
	return ""
}

func TestDecide(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	f := w.function()

	t.Run("a failed game is answered with service, with attributes to filter on", func(t *testing.T) {
		id := w.greedy(f, "fail")
		w.adult(id, "GB")
		w.happen(id, event.TypeGameFailed, noon.Add(-10*time.Second), event.GameFailed{Game: "book", Product: "casino", Error: "timeout"})
		out, rec := handle(t, f, w.scored(id, calm))
		if out.Type() != event.TypeRecommendation || rec.Action != "retry_game" || rec.Kind != policy.Service {
			t.Fatalf("%s %+v", out.Type(), rec)
		}
		ext := out.Extensions()
		for attr, want := range map[string]string{"action": "retry_game", "kind": "service", "jurisdiction": "GB", "brand": "acme", "channel": "in_app", "arm": "greedy"} {
			if ext[attr] != want {
				t.Errorf("%s is %v, want %s", attr, ext[attr], want)
			}
		}
		if rec.Expires.IsZero() || rec.DedupKey == "" || len(rec.Reasons) == 0 {
			t.Errorf("%+v", rec)
		}
	})

	t.Run("a redelivered event gets the same reply, from whichever instance", func(t *testing.T) {
		id := w.greedy(f, "again")
		w.adult(id, "GB")
		w.happen(id, event.TypePaymentFailed, noon.Add(-10*time.Second), event.PaymentFailed{Operation: "deposit", Amount: 100, Currency: "GBP", Error: "declined"})
		e := w.scored(id, calm)
		first, _ := handle(t, f, e)
		w.happen(id, event.TypeSessionStarted, noon, event.SessionStarted{})
		second, _ := handle(t, f, e)
		third, _ := handle(t, w.function(), e)
		for _, other := range []*string{ptr(string(second.Data())), ptr(string(third.Data()))} {
			if *other != string(first.Data()) {
				t.Errorf("first %s\nthen  %s", first.Data(), *other)
			}
		}
		if first.ID() != second.ID() || first.ID() != third.ID() {
			t.Error("ids differ")
		}
	})

	t.Run("an exclusion that came in after the score wins", func(t *testing.T) {
		id := w.greedy(f, "excluded")
		w.adult(id, "GB")
		w.happen(id, event.TypeGameFailed, noon.Add(-10*time.Second), event.GameFailed{Game: "book", Product: "casino", Error: "timeout"})
		e := w.scored(id, calm)
		w.happen(id, event.TypeExcluded, noon.Add(-time.Second), event.Excluded{Scheme: "GAMSTOP"})
		out, rec := handle(t, f, e)
		if out.Type() != event.TypeSuppressed || !blocked(rec, "GB-EXCL") {
			t.Fatalf("%s %+v", out.Type(), rec)
		}
	})

	t.Run("a player who was erased meanwhile gets nothing", func(t *testing.T) {
		id := w.greedy(f, "erased")
		w.adult(id, "GB")
		e := w.scored(id, calm)
		_, version, err := w.store.Read(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.store.Erase(t.Context(), id, version, noon); err != nil {
			t.Fatal(err)
		}
		if out, _ := handle(t, f, e); out != nil {
			t.Fatalf("%v", out)
		}
	})

	t.Run("without consent there is no marketing, and the reason says so", func(t *testing.T) {
		id := w.greedy(f, "unasked")
		w.adult(id, "SE")
		w.rounds(id, 150)
		w.happen(id, event.TypeConsentChanged, noon.Add(-time.Minute), event.ConsentChanged{Product: "all", Channel: "all", Granted: false})
		out, rec := handle(t, f, w.scored(id, calm, event.Ranked{Item: "book", Score: 1}))
		if out.Type() != event.TypeSuppressed || !blocked(rec, "ALL-CONSENT") || !strings.Contains(rec.Reasons[0].Text, "opt-in") {
			t.Fatalf("%s %+v", out.Type(), rec)
		}
	})

	t.Run("without a harm score marketing fails closed, and protection goes on", func(t *testing.T) {
		id := w.greedy(f, "unrated")
		w.adult(id, "GB")
		w.rounds(id, 150)
		out, rec := handle(t, f, w.scored(id, map[string]float64{"leave": 0.9}))
		if out.Type() != event.TypeSuppressed || !blocked(rec, "ALL-HARM") {
			t.Fatalf("%s %+v", out.Type(), rec)
		}
		says := func() bool {
			return slices.ContainsFunc(rec.Reasons, func(r event.Reason) bool { return r.Code == "not-rated:harm" })
		}
		if !says() {
			t.Errorf("the reasons do not say that nobody rated the player: %+v", rec.Reasons)
		}
		w.happen(id, event.TypeIndicatorRaised, noon, event.IndicatorRaised{Group: "contact", Strength: "strong"})
		out, rec = handle(t, f, w.scored(id, map[string]float64{"leave": 0.9}))
		if out.Type() != event.TypeRecommendation || rec.Kind != policy.Protection || !rec.Review || !says() {
			t.Fatalf("%s %+v", out.Type(), rec)
		}
	})

	t.Run("the decision is in the journal and can be reproduced bit for bit", func(t *testing.T) {
		id := w.greedy(f, "journal")
		w.adult(id, "NL")
		w.rounds(id, 150)
		_, rec := handle(t, f, w.scored(id, map[string]float64{"leave": 1 / 3.0, "harm": math.Pi / 10}, event.Ranked{Item: "book", Score: 1 / 7.0}))
		entry, _, err := f.journal.Find(t.Context(), journal.Segments{}, rec.Decision)
		if err != nil {
			t.Fatal(err)
		}
		stored, err := policy.Join(entry.Open, entry.Personal)
		if err != nil {
			t.Fatal(err)
		}
		text, err := f.policy.Document()
		if err != nil {
			t.Fatal(err)
		}
		p, err := policy.ParseDocument(text)
		if err != nil {
			t.Fatal(err)
		}
		if diff, err := p.Reproduce(stored); err != nil || diff != "" {
			t.Fatalf("%s %v", diff, err)
		}
		stored.Decision.Rules[0].Result = "changed"
		if diff, _ := p.Reproduce(stored); diff == "" {
			t.Fatal("a changed decision was not noticed")
		}
		t.Logf("%d bytes open, %d personal", len(entry.Open), len(entry.Personal))
	})
}

func TestRevoke(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	f := w.function()
	id := w.greedy(f, "revoke")
	w.adult(id, "GB")
	w.happen(id, event.TypeGameFailed, noon.Add(-10*time.Second), event.GameFailed{Game: "book", Product: "casino", Error: "timeout"})
	_, rec := handle(t, f, w.scored(id, calm))

	stale := w.scored(id, calm) // of before the exclusion, decided on after it
	e := w.event(id, event.TypeExcluded, noon, event.Excluded{Scheme: "GAMSTOP"})
	out, gone := handle(t, f, e)
	if out == nil || out.Type() != event.TypeRevoked || !slices.Equal(gone.Revoked, []string{rec.Decision}) {
		t.Fatalf("%v %+v", out, gone)
	}
	again, _ := handle(t, w.function(), e)
	if again == nil || again.ID() != out.ID() || string(again.Data()) != string(out.Data()) {
		t.Fatalf("redelivered: %v", again)
	}
	sup, rec2 := handle(t, f, stale)
	if sup.Type() != event.TypeSuppressed || !blocked(rec2, policy.BlockHold) {
		t.Fatalf("decided on the state of before: %s %+v", sup.Type(), rec2)
	}
	if out, _ := handle(t, f, w.event(id, event.TypeConsentChanged, noon, event.ConsentChanged{Product: "all", Channel: "all", Granted: true})); out != nil {
		t.Fatalf("a granted consent is no reason to revoke: %v", out)
	}
}

func TestKillSwitch(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	f := w.function()
	id := w.greedy(f, "kill")
	w.adult(id, "GB")
	w.happen(id, event.TypeGameFailed, noon.Add(-10*time.Second), event.GameFailed{Game: "book", Product: "casino", Error: "timeout"})
	err := f.journal.Turn(t.Context(), journal.SwitchChange{Switch: policy.Switch("action", "retry_game"), On: true, By: "test", Reason: "test", At: noon})
	if err != nil {
		t.Fatal(err)
	}
	turned := time.Now()
	for {
		if on, _ := f.board.On(); len(on) == 1 {
			break
		}
		if time.Since(turned) > time.Second {
			t.Fatal("not noticed within a second")
		}
		time.Sleep(10 * time.Millisecond) // the board polls on its own clock
	}
	_, rec := handle(t, f, w.scored(id, calm))
	if rec.Action != "retry_game" || !blocked(rec, policy.BlockKill) {
		t.Fatalf("%+v", rec)
	}
	n := 0
	if err := f.journal.Each(t.Context(), journal.Ops, 0, true, func(e *journal.Entry) error { n++; return nil }); err != nil || n != 1 {
		t.Fatalf("%d entries, %v", n, err)
	}
}

// rounds lets the player play n even rounds in the last half hour.
func (w *world) rounds(id string, n int) {
	for i := range n {
		w.happen(id, event.TypeRoundSettled, noon.Add(-30*time.Minute+time.Duration(i)*time.Second),
			event.RoundSettled{Game: "book", Product: "casino", Stake: 100, Win: 100, Currency: "EUR"})
	}
}

func blocked(rec *event.Recommendation, rule string) bool {
	return slices.ContainsFunc(rec.Blocked, func(b event.Blocked) bool { return b.Rule == rule })
}

func ptr[T any](v T) *T { return &v }
