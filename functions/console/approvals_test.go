package console_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pitboss/internal/journal"
	"pitboss/test/redistest"
)

// until waits until a condition holds.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-deadline:
			t.Fatal("never: " + what)
		case <-tick.C:
		}
	}
}

// An approved change that was not made, because the process died, is made once by a console
// that starts: changes of models and packs, too.
func TestApprovedChangesAreCarriedOutAfterACrash(t *testing.T) {
	t.Parallel()
	dir, url := t.TempDir(), redistest.Start(t)
	if err := os.CopyFS(dir, os.DirFS("../../models")); err != nil {
		t.Fatal(err)
	}
	cfg := map[string]string{"REDIS_URL": url, "MODELS_DIR": dir}
	rdb := redistest.Client(t, url)
	j := journal.New(rdb, 1)

	// They are proposed in a console and approved by a process that then dies.
	s := startTwo(t, cfg)
	var model, pack, overtaken, stop proposed
	var now struct{ Files map[string]string }
	s.getAs("anna", "/api/policy", &now)
	change := func(old, new string, p *proposed) int {
		return s.change("/api/policy", map[string]string{"file": "actions.yaml", "text": strings.Replace(now.Files["actions.yaml"], old, new, 1), "note": "n"}, p, as("anna")...)
	}
	s.change("/api/switches", map[string]any{"what": "rule", "name": "GB-DM", "on": true, "note": "n"}, nil, as("anna")...)
	for i, got := range []int{
		s.change("/api/models/leave/promote", map[string]string{"version": "v2", "note": "n"}, &model, as("otto")...),
		change("per_day: 2", "per_day: 1", &pack), change("per_week: 6", "per_week: 5", &overtaken),
		s.change("/api/switches", map[string]any{"what": "rule", "name": "GB-DM", "on": false, "note": "n"}, &stop, as("anna")...),
	} {
		if got != 202 {
			t.Fatalf("proposal %d: %d", i, got)
		}
	}
	died := time.Now().UTC().Add(-journal.ClaimFor)
	for n, id := range []string{model.Proposal.ID, pack.Proposal.ID, overtaken.Proposal.ID, stop.Proposal.ID} {
		p, err := j.FindProposal(t.Context(), id, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if _, err = j.Settle(t.Context(), p, journal.Approved, "bert", "", died.Add(time.Duration(n)*time.Millisecond)); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "all is carried out", func() bool {
		for _, id := range []string{model.Proposal.ID, pack.Proposal.ID, overtaken.Proposal.ID, stop.Proposal.ID} {
			if left, err := j.Approved(t.Context(), id); err != nil || left {
				return false
			}
		}
		return true
	})
	serving, err := os.ReadFile(filepath.Join(dir, "serving.yaml"))
	if err != nil || !strings.Contains(string(serving), "leave: {live: v2") {
		t.Errorf("the model was not promoted: %s %v", serving, err)
	}
	if s.getAs("anna", "/api/policy", &now); !strings.Contains(now.Files["actions.yaml"], "per_day: 1") || s.switchesOn() != 0 {
		t.Error("the policy or the switch was not changed")
	}
	p, err := j.FindProposal(t.Context(), overtaken.Proposal.ID, time.Now())
	if err != nil || !strings.Contains(p.Failed, "has changed since") {
		t.Errorf("what another change has overtaken: %q, %v", p.Failed, err)
	}

	// The rules page shows the policy in force, not the files.
	var rules struct {
		Since   *journal.InForce
		Actions []struct{ ID, Doc string }
	}
	if s.getAs("anna", "/api/rules", &rules); rules.Since == nil || rules.Since.Approved != "bert" || len(rules.Actions) == 0 {
		t.Errorf("%+v", rules)
	}
}

// The rules page shows approved texts instead of those of the files.
func TestRulesAreThoseInForce(t *testing.T) {
	t.Parallel()
	s := start(t, map[string]string{"REDIS_URL": redistest.Start(t)})
	var now struct{ Files map[string]string }
	s.get("/api/policy", &now)
	text := strings.Replace(now.Files["actions.yaml"], "doc: The game failed to load; it works again.", "doc: Another doc.", 1)
	if got := s.change("/api/policy", map[string]string{"file": "actions.yaml", "text": text, "note": "n"}, nil); got != 200 {
		t.Fatal(got)
	}
	var rules struct {
		Since   *journal.InForce
		Actions []struct{ ID, Doc string }
		Packs   []struct{ Pack string }
	}
	s.get("/api/rules", &rules)
	docs := map[string]string{}
	for _, a := range rules.Actions {
		docs[a.ID] = a.Doc
	}
	if rules.Since == nil || docs["retry_game"] != "Another doc." || len(rules.Packs) < 21 {
		t.Errorf("since %+v, retry_game is %q, %d packs", rules.Since, docs["retry_game"], len(rules.Packs))
	}
}
