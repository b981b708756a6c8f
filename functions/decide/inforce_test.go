package decide

import (
	"strings"
	"testing"

	"pitboss/internal/journal"
	"pitboss/internal/policy"
)

// A policy that was approved on the running system decides within a second, and
// no longer once other files are deployed.
func TestApprovedPolicyDecides(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	f := w.function()
	id := w.failing(f, "in-force")
	files := map[string][]byte{}
	for name, b := range f.policy.Files() {
		files[name] = b
	}
	files["actions.yaml"] = []byte(strings.Replace(string(files["actions.yaml"]), "id: retry_game", "id: retry_it", 1))
	next, err := policy.Parse(files, f.policy.FeatureNames())
	if err != nil {
		t.Fatal(err)
	}
	text, err := next.Document()
	if err != nil {
		t.Fatal(err)
	}
	if err := f.journal.KeepDocument(t.Context(), next.Hash(), text); err != nil {
		t.Fatal(err)
	}
	put := func(base string) {
		t.Helper()
		if err := f.journal.PutInForce(t.Context(), journal.InForce{Base: base, Policy: next.Hash(), By: "anna", Approved: "bert", At: noon}); err != nil {
			t.Fatal(err)
		}
		if err := f.takePolicy(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	put(f.policy.Hash())
	_, rec := handle(t, f, w.scored(id, calm))
	if rec.Action != "retry_it" {
		t.Fatalf("%+v", rec)
	}
	entry, _, err := f.journal.Find(t.Context(), journal.Segments{}, rec.Decision)
	if err != nil || !strings.Contains(string(entry.Open), next.Hash()) {
		t.Errorf("the journal does not name the policy: %v", err)
	}
	if other := w.function(); other.decidesBy().Hash() != next.Hash() {
		t.Error("an instance that starts now decides by the files")
	}
	put("the hash of other files")
	if f.decidesBy().Hash() != f.policy.Hash() {
		t.Error("other files were deployed, and the policy of before still decides")
	}
}
