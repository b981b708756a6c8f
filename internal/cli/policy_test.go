package cli

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"pitboss/internal/journal"
	"pitboss/internal/learn"
	"pitboss/internal/policy"
	"pitboss/test/redistest"
	"pitboss/test/shipped"
)

// explored journals decisions of an arm that explores two messages. Players take up b three
// times as often. It returns a candidate that has learned that.
func explored(t *testing.T, url string) (candidate string) {
	t.Helper()
	rdb := redistest.Client(t, url)
	j := journal.New(rdb, 16)
	p, set := shipped.Policy(t)
	doc, err := p.Document()
	if err == nil {
		err = j.KeepDocument(t.Context(), p.Hash(), doc)
	}
	if err != nil {
		t.Fatal(err)
	}
	spec := &learn.Spec{Version: 1, Mode: learn.Learning, Deviation: 50, Noise: 40, Ceiling: 1, Floor: 0.01, Draws: 100, Window: learn.Window(time.Hour),
		Rewards: map[string]map[string]float64{policy.Service: {"accepted": 100}}}
	sums := map[string]*learn.Sums{"a": spec.NewSums(), "b": spec.NewSums()}
	rng, accept := rand.New(rand.NewPCG(1, 1)), []float64{0.1, 0.3}
	now := time.Now().UTC().Add(-25 * time.Hour) // so that their outcomes are known
	for i := range 900 {
		chosen := rng.IntN(2)
		d := policy.Decision{Issued: true, Action: string(rune('a' + chosen)), Kind: policy.Service, Arm: "explore", Propensity: 0.5, Policy: p.Hash(),
			Candidates: []policy.Candidate{{Action: "a", Kind: policy.Service, Value: 60, Propensity: 0.5}, {Action: "b", Kind: policy.Service, Value: 50, Propensity: 0.5}}}
		player := fmt.Sprint("p", i)
		r := policy.Record{Decision: d, Input: policy.Input{Decision: journal.DecisionID(player, "1"), Player: player, Now: now, AsOf: now, StateVersion: "00",
			FeatureSet: set.Hash(), Features: make([]float64, len(set.Names())), Contacts: &policy.Contacts{}}}
		open, personal := r.Split()
		note(t, j, player, &journal.Draft{Kind: journal.KindDecision, Time: now, Open: open, Personal: personal, Decision: r.Input.Decision})
		rank := learn.Rank("issued")
		if rng.Float64() < accept[chosen] {
			rank = learn.Rank("accepted")
			out, err := json.Marshal(policy.Outcome{Decision: r.Input.Decision, Status: "accepted", At: now.Add(time.Minute)})
			if err != nil {
				t.Fatal(err)
			}
			note(t, j, player, &journal.Draft{Kind: journal.KindOutcome, Time: now, Open: out, Decision: "o"})
		}
		sums[d.Action].Add(spec.Row([]float64{1}, policy.Service, rank, d.Candidates[chosen].Value))
	}
	text, _, err := (&learn.Snapshot{Spec: *spec, Actions: sums}).Text()
	if err != nil {
		t.Fatal(err)
	}
	candidate = filepath.Join(t.TempDir(), "candidate.json")
	if err := os.WriteFile(candidate, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return candidate
}

func note(t *testing.T, j *journal.Journal, player string, d *journal.Draft) {
	t.Helper()
	d.Contacts = &policy.Contacts{}
	if _, err := j.Record(t.Context(), player, journal.Anew, func(journal.View) (*journal.Draft, error) { return d, nil }); err != nil {
		t.Fatal(err)
	}
}

// A candidate that earns more is proposed by one person, approved by another, and rolled back
// by one command. A candidate that has learned nothing is refused.
func TestLearnedPolicyIsPromotedByTwo(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t)
	candidate := explored(t, url)
	run := func(args ...string) (string, error) {
		var out bytes.Buffer
		root := rootCmd("test")
		root.SetArgs(append(args, "--redis", url, "--models", "../../models"))
		root.SetOut(&out)
		root.SetErr(&out)
		err := root.ExecuteContext(t.Context())
		return out.String(), err
	}
	if out, err := run("policy", "evaluate", candidate, "--since", "30d"); err != nil || !strings.Contains(out, "It may be promoted") {
		t.Fatalf("%s %v", out, err)
	}
	out, err := run("policy", "promote", candidate, "--by", "ann", "--reason", "earns more")
	id := regexp.MustCompile(`approve (\w+)`).FindStringSubmatch(out)
	if err != nil || id == nil {
		t.Fatalf("%s %v", out, err)
	}
	if out, err := run("policy", "status"); err != nil || !strings.Contains(out, "none was ever promoted") {
		t.Fatalf("before it was approved: %s %v", out, err)
	}
	if out, err := run("proposals", "approve", id[1], "--by", "ann"); err == nil {
		t.Fatalf("ann approved her own: %s", out)
	}
	if out, err := run("proposals", "approve", id[1], "--by", "bob"); err != nil {
		t.Fatalf("%s %v", out, err)
	}
	if out, err := run("policy", "status"); err != nil || !strings.Contains(out, "by ann and bob: earns more") {
		t.Fatalf("%s %v", out, err)
	}
	if out, err := run("policy", "promote", candidate, "--by", "ann", "--reason", "again"); err == nil || !strings.Contains(out, "the reward is not shown to be above today's") {
		t.Fatalf("against itself: %s %v", out, err)
	}
	if out, err := run("policy", "shadow", candidate, "--by", "ann", "--reason", "to look at"); err != nil || !strings.Contains(out, "chooses in the shadow") {
		t.Fatalf("%s %v", out, err)
	}
	if out, err := run("policy", "status"); err != nil || !strings.Contains(out, "in the shadow: learned policy") {
		t.Fatalf("%s %v", out, err)
	}
	if out, err := run("policy", "shadow", "--off", "--by", "ann", "--reason", "seen"); err != nil {
		t.Fatalf("%s %v", out, err)
	}
	for range 2 { // the second time it does not come back
		if out, err := run("policy", "rollback", "--by", "ann", "--reason", "complaints"); err != nil || !strings.Contains(out, "what learning.yaml says decides") {
			t.Fatalf("%s %v", out, err)
		}
	}
	if out, err := run("policy", "uplift"); err != nil || !strings.Contains(out, "trials") {
		t.Fatalf("%s %v", out, err)
	}
	if out, err := run("policy", "snapshot", "--out", filepath.Join(t.TempDir(), "s.json")); err != nil || !strings.Contains(out, "of 0 actions") {
		t.Fatalf("%s %v", out, err)
	}
}

// Decisions that were written out of Redis to segments count with --segments.
func TestPolicyIsEvaluatedOverSegments(t *testing.T) {
	t.Parallel()
	url, segments := redistest.Start(t), t.TempDir()
	candidate := explored(t, url)
	run := func(args ...string) (string, error) {
		var out bytes.Buffer
		root := rootCmd("test")
		root.SetArgs(append(args, "--redis", url, "--models", "../../models"))
		root.SetOut(&out)
		root.SetErr(&out)
		err := root.ExecuteContext(t.Context())
		return out.String(), err
	}
	evaluate := func(more ...string) string {
		out, err := run(append([]string{"policy", "evaluate", candidate, "--since", "30d", "--as", "json"}, more...)...)
		if err != nil {
			out, _, _ = strings.Cut(out, "Error:")
		}
		return strings.TrimSpace(out)
	}
	before := evaluate()
	if !strings.Contains(before, `"choices":900`) {
		t.Fatal(before)
	}
	if out, err := run("journal", "write", "--segments", segments, "--keep", "1h"); err != nil {
		t.Fatalf("%s %v", out, err)
	}
	if out := evaluate(); !strings.Contains(out, `"choices":0`) {
		t.Errorf("without segments: %s", out)
	}
	if out := evaluate("--segments", segments); out != before {
		t.Errorf("with segments: %s\nbefore: %s", out, before)
	}
	if out, err := run("policy", "uplift", "--segments", segments, "--as", "json"); err != nil {
		t.Errorf("%s %v", out, err)
	}
}
