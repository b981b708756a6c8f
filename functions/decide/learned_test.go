package decide

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pitboss/internal/event"
	"pitboss/internal/journal"
	"pitboss/internal/learn"
	"pitboss/internal/policy"
)

// learningModels is the models folder with everybody in a learned arm.
func learningModels(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../../models")); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "actions.yaml")
	body, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(body), "holdout: 0.05", "holdout: 0.0", 1)
	text = strings.Replace(text, "- {name: explore, share: 0.5, temperature: 40}\n", "", 1)
	text = strings.Replace(text, "{name: greedy, share: 0.5, temperature: 0}", "{name: learned, share: 1, learned: true}", 1)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// What was learned is taken over, its hash stands in the journal, the snapshot is
// kept under it, and the decision is reproduced from both to the bit.
func TestDecidesByWhatWasLearned(t *testing.T) {
	t.Parallel()
	w := newWorld(t, true)
	dir := learningModels(t)
	f := w.function("MODELS_DIR", dir, "DECIDE_LEARN_POLL", "5ms")
	spec, err := learn.ReadSpec(filepath.Join(dir, "learning.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var rows []*learn.Sums // payment_help is worth far more than its formula says
	for rank := 1; rank < learn.Ranks; rank++ {
		rows = append(rows, spec.Row([]float64{1, 0.9, 0}, policy.Service, rank, -2000))
	}
	if _, err := f.journal.Learn(t.Context(), "other", journal.Lesson{Spec: spec, At: noon.Add(-48 * time.Hour), Now: noon, Decision: journal.DecisionID("other", "1"),
		Action: "payment_help", Rank: 1, Rows: rows, Remember: 1e9}); err != nil {
		t.Fatal(err)
	}
	want := map[string]*learn.Sums{"payment_help": rows[0]}
	_, hash, err := (&learn.Snapshot{Spec: *spec, Actions: want}).Text()
	if err != nil {
		t.Fatal(err)
	}
	for f.decidesBy().LearnedHash() != hash {
		if err := t.Context().Err(); err != nil {
			t.Fatal(err)
		}
	}
	beside := w.shadow(f, spec)
	w.adult("p", "GB")
	w.happen("p", event.TypePaymentFailed, noon, event.PaymentFailed{Operation: "deposit", Amount: 2000, Currency: "GBP", Method: "card", Error: "declined"})
	_, rec := handle(t, f, w.scored("p", calm))
	if rec == nil || rec.Action != "payment_help" || !(rec.Propensity > 0) {
		t.Fatalf("%+v", rec)
	}
	entry, _, err := f.journal.Find(t.Context(), journal.Segments{}, rec.Decision)
	if err != nil {
		t.Fatal(err)
	}
	r, err := policy.Join(entry.Open, entry.Personal)
	if err != nil || r.Decision.Learned != hash {
		t.Fatalf("%+v %v", r, err)
	}
	text, err := f.journal.Document(t.Context(), hash)
	if err != nil {
		t.Fatal(err)
	}
	m, err := learn.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if r.Decision.Shadow == nil || r.Decision.Shadow.Learned != beside.Hash {
		t.Fatalf("in the shadow: %+v", r.Decision.Shadow)
	}
	if diff, err := f.policy.With(m).WithShadow(beside).Reproduce(r); err != nil || diff != "" {
		t.Fatalf("%s %v", diff, err)
	}
	if _, err := f.policy.With(m).Reproduce(r); err == nil {
		t.Fatal("reproduced without what was in the shadow")
	}
	checkPromoted(t, f, spec, hash)
	checkFrozen(t, w, dir, text, hash)
}

// shadow lets a policy that has learned nothing choose in the shadow.
func (w *world) shadow(f *Function, spec *learn.Spec) *learn.Model {
	w.tb.Helper()
	m, err := (&learn.Snapshot{Spec: *spec, Made: noon.Add(time.Second)}).Model()
	if err != nil {
		w.tb.Fatal(err)
	}
	text, hash, err := m.Snapshot().Text()
	if err == nil {
		err = f.journal.KeepDocument(w.tb.Context(), hash, text)
	}
	if err == nil {
		err = f.journal.ShadowLearned(w.tb.Context(), hash, "ann", "to look at", noon)
	}
	if err != nil {
		w.tb.Fatal(err)
	}
	for s := f.decidesBy().Shadow(); s == nil || s.Hash != hash; s = f.decidesBy().Shadow() {
		if err := w.tb.Context().Err(); err != nil {
			w.tb.Fatal(err)
		}
	}
	return m
}

// checkPromoted: a promoted policy decides whatever is learned meanwhile, until it
// is taken back. One that is not kept is not promoted.
func checkPromoted(t *testing.T, f *Function, spec *learn.Spec, before string) {
	t.Helper()
	text, hash, err := (&learn.Snapshot{Spec: *spec, Made: noon}).Text()
	if err != nil {
		t.Fatal(err)
	}
	if err := f.journal.PromoteLearned(t.Context(), hash, []string{"ann", "bob"}, "better", noon); err == nil {
		t.Fatal("promoted what nobody has")
	}
	if err := f.journal.KeepDocument(t.Context(), hash, text); err != nil {
		t.Fatal(err)
	}
	if err := f.journal.PromoteLearned(t.Context(), hash, []string{"ann", "bob"}, "better", noon); err != nil {
		t.Fatal(err)
	}
	for f.decidesBy().LearnedHash() != hash {
		if err := t.Context().Err(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.journal.RollbackLearned(t.Context(), "ann", "worse", noon); err != nil {
		t.Fatal(err)
	}
	for f.decidesBy().LearnedHash() != before {
		if err := t.Context().Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// checkFrozen: in frozen mode the file decides, whatever is learned meanwhile;
// with a damaged file decide does not start.
func checkFrozen(t *testing.T, w *world, dir string, text []byte, hash string) {
	t.Helper()
	path := filepath.Join(dir, "learning.yaml")
	body, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	frozen := strings.Replace(string(body), "mode: learning", "snapshot: learned-v1.json\nmode: frozen", 1)
	for name, b := range map[string][]byte{"learning.yaml": []byte(frozen), "learned-v1.json": text} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	f := w.function("MODELS_DIR", dir, "DECIDE_LEARN_POLL", "5ms")
	for f.decidesBy().LearnedHash() == "" {
		if err := t.Context().Err(); err != nil {
			t.Fatal(err)
		}
	}
	if got := f.decidesBy().LearnedHash(); got != hash {
		t.Errorf("decides by %s, the file is %s", got, hash)
	}
	if err := os.WriteFile(filepath.Join(dir, "learned-v1.json"), text[:len(text)/2], 0o644); err != nil {
		t.Fatal(err)
	}
	damaged := New()
	if err := damaged.Start(t.Context(), map[string]string{"REDIS_URL": w.url, "MODELS_DIR": dir}); err == nil {
		_ = damaged.Stop(t.Context())
		t.Error("started with a damaged snapshot")
	}
}
