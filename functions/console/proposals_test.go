package console_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pitboss/internal/event"
	"pitboss/internal/journal"
	"pitboss/internal/policy"
	"pitboss/test/redistest"
	"pitboss/test/shipped"
)

const twoPeople = `compliance anna compliance-anna-0123456789
compliance bert compliance-bert-0123456789
operator otto operator-otto-0123456789
operator,compliance olga operator-olga-0123456789
`

// as returns the header of a person in twoPeople.
func as(who string) []string {
	role := map[string]string{"anna": "compliance", "bert": "compliance", "otto": "operator", "olga": "operator"}[who]
	return []string{"Authorization", "Bearer " + role + "-" + who + "-0123456789"}
}

func startTwo(t *testing.T, more map[string]string) *served {
	t.Helper()
	tokens := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(tokens, []byte(twoPeople), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := map[string]string{"REDIS_URL": redistest.Start(t), "CONSOLE_TOKENS_FILE": tokens, "PITBOSS_APPROVERS": "2"}
	for k, v := range more {
		cfg[k] = v
	}
	return start(t, cfg)
}

type proposed struct {
	Proposal struct{ ID string }
}

// getAs is get with a token.
func (s *served) getAs(who, path string, v any) int {
	s.t.Helper()
	req, _ := http.NewRequest("GET", s.url+path, nil)
	req.Header.Set("Authorization", as(who)[1])
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.read(res, v)
}

func (s *served) switchesOn() int {
	var out struct{ Switches []any }
	s.getAs("anna", "/api/rules", &out)
	return len(out.Switches)
}

func TestFourEyes(t *testing.T) {
	t.Parallel()
	s := startTwo(t, nil)
	off := map[string]any{"what": "action", "name": "free_spins", "on": false, "note": "mended"}
	if got := s.change("/api/switches", off, nil, as("anna")...); got != 400 {
		t.Errorf("a switch that is not on was turned off: %d", got)
	}
	on := map[string]any{"what": "action", "name": "free_spins", "on": true, "note": "a complaint"}
	if got := s.change("/api/switches", on, nil, as("anna")...); got != 200 || s.switchesOn() != 1 {
		t.Fatalf("stopping takes one person: %d", got)
	}
	var p proposed
	if got := s.change("/api/switches", off, &p, as("anna")...); got != 202 || p.Proposal.ID == "" || s.switchesOn() != 1 {
		t.Fatalf("letting it go on: %d %+v", got, p)
	}
	approve := "/api/proposals/" + p.Proposal.ID + "/approve"
	var list struct {
		Proposals []struct {
			ID, What, By, Role string
			Mine               bool
		}
	}
	if s.getAs("anna", "/api/proposals", &list); len(list.Proposals) != 1 || !list.Proposals[0].Mine || list.Proposals[0].Role != "compliance" {
		t.Errorf("%+v", list)
	}
	for who, want := range map[string]int{"anna": 403, "otto": 403} {
		if got := s.change(approve, map[string]any{}, nil, as(who)...); got != want || s.switchesOn() != 1 {
			t.Errorf("%s approves: %d, want %d", who, got, want)
		}
	}
	if got := s.change("/api/proposals/no-such/approve", map[string]any{}, nil, as("bert")...); got != 404 {
		t.Errorf("a proposal that is not there: %d", got)
	}
	if got := s.change(approve, map[string]any{}, nil, as("bert")...); got != 200 || s.switchesOn() != 0 {
		t.Fatalf("bert approves: %d", got)
	}
	if got := s.change(approve, map[string]any{}, nil, as("bert")...); got != 404 {
		t.Errorf("approved twice: %d", got)
	}
	var changes struct {
		Changes []struct{ What, Who, Note string }
	}
	s.getAs("anna", "/api/changes", &changes)
	said := ""
	for _, c := range changes.Changes {
		said += c.Who + " " + c.What + " " + c.Note + "\n"
	}
	for _, want := range []string{"anna propose switch.off mended", "bert approved switch.off proposed by anna", "anna, approved by bert kill-switch.off"} {
		if !strings.Contains(said, want) {
			t.Errorf("the journal lacks %q:\n%s", want, said)
		}
	}
}

func TestProposalsAreWithdrawnAndExpire(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t)
	s := startTwo(t, map[string]string{"REDIS_URL": url})
	s.change("/api/switches", map[string]any{"what": "rule", "name": "GB-DM", "on": true, "note": "n"}, nil, as("anna")...)
	off := map[string]any{"what": "rule", "name": "GB-DM", "on": false, "note": "n"}
	var p proposed
	s.change("/api/switches", off, &p, as("anna")...)
	if got := s.change("/api/proposals/"+p.Proposal.ID+"/withdraw", map[string]any{}, nil, as("anna")...); got != 200 {
		t.Fatalf("withdrawn: %d", got)
	}
	if got := s.change("/api/proposals/"+p.Proposal.ID+"/approve", map[string]any{}, nil, as("bert")...); got != 404 || s.switchesOn() != 1 {
		t.Errorf("approved after it was withdrawn: %d", got)
	}
	rdb := redistest.Client(t, url)
	j := journal.New(rdb, 1)
	past := time.Now().Add(-25 * time.Hour)
	old, err := j.Propose(t.Context(), journal.Proposal{What: journal.ProposeSwitchOff, Subject: "rule/GB-DM", By: "anna", At: past, Until: past.Add(24 * time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if got := s.change("/api/proposals/"+old.ID+"/approve", map[string]any{}, nil, as("bert")...); got != 404 || s.switchesOn() != 1 {
		t.Errorf("approved after it expired: %d", got)
	}
	v, err := j.Verify(t.Context(), journal.Segments{})
	if err != nil || len(v.Findings) > 0 {
		t.Errorf("%+v %v", v, err)
	}
}

func TestModelsArePromotedByTwo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../../models")); err != nil {
		t.Fatal(err)
	}
	s := startTwo(t, map[string]string{"MODELS_DIR": dir})
	serving := func() string { b, _ := os.ReadFile(filepath.Join(dir, "serving.yaml")); return string(b) }
	was := serving()
	var p proposed
	if got := s.change("/api/models/leave/promote", map[string]string{"version": "v2", "note": "n"}, &p, as("otto")...); got != 202 || serving() != was {
		t.Fatalf("proposed: %d", got)
	}
	if got := s.change("/api/proposals/"+p.Proposal.ID+"/approve", map[string]any{}, nil, as("bert")...); got != 403 {
		t.Errorf("approved without the role: %d", got)
	}
	if got := s.change("/api/proposals/"+p.Proposal.ID+"/approve", map[string]any{}, nil, as("olga")...); got != 200 || !strings.Contains(serving(), "leave: {live: v2") {
		t.Fatalf("approved: %d %s", got, serving())
	}
}

// A pack can be changed on the running system. A wrong text is refused with the reason, a
// good one waits for a second person, and one that another change has overtaken is refused.
func TestPacksAreChangedByTwo(t *testing.T) {
	t.Parallel()
	s := startTwo(t, nil)
	var now struct {
		Files map[string]string
		Hash  string
		Since *journal.InForce
	}
	if got := s.getAs("anna", "/api/policy", &now); got != 200 || now.Files["rules/GB.yaml"] == "" || now.Since != nil {
		t.Fatalf("%d %+v", got, now.Since)
	}
	text := now.Files["actions.yaml"]
	change := func(text, who string) (int, proposed) {
		var p proposed
		got := s.change("/api/policy", map[string]string{"file": "actions.yaml", "text": text, "note": "quieter"}, &p, as(who)...)
		return got, p
	}
	for _, bad := range []string{"not: a policy", strings.Replace(text, "kind: marketing", "kind: nonsense", 1), text} {
		if got, _ := change(bad, "anna"); got != 400 {
			t.Errorf("a bad text: %d", got)
		}
	}
	if got := s.change("/api/policy", map[string]string{"file": "../../etc/passwd", "text": text, "note": "n"}, nil, as("anna")...); got != 400 {
		t.Errorf("another file: %d", got)
	}
	if got, _ := change(strings.Replace(text, "per_day: 2", "per_day: 1", 1), "otto"); got != 403 {
		t.Errorf("without the role: %d", got)
	}
	got, p := change(strings.Replace(text, "per_day: 2", "per_day: 1", 1), "anna")
	got2, overtaken := change(strings.Replace(text, "per_week: 6", "per_week: 5", 1), "anna")
	if got != 202 || got2 != 202 {
		t.Fatalf("proposed: %d %d", got, got2)
	}
	if got := s.change("/api/proposals/"+p.Proposal.ID+"/approve", map[string]any{}, nil, as("bert")...); got != 200 {
		t.Fatalf("approved: %d", got)
	}
	was := now.Hash
	if s.getAs("anna", "/api/policy", &now); now.Hash == was || now.Since == nil || now.Since.Approved != "bert" || !strings.Contains(now.Files["actions.yaml"], "per_day: 1") {
		t.Errorf("in force: %s, %+v", now.Hash, now.Since)
	}
	if got := s.change("/api/proposals/"+overtaken.Proposal.ID+"/approve", map[string]any{}, nil, as("bert")...); got != 409 {
		t.Errorf("a change of a policy that is no longer in force: %d", got)
	}
}

// A change can be tried on past decisions before it is proposed.
func TestAChangeIsTried(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t)
	s := startTwo(t, map[string]string{"REDIS_URL": url})
	p, set := shipped.Policy(t)
	rdb := redistest.Client(t, url)
	j := journal.New(rdb, 10)
	text, err := p.Document()
	if err == nil {
		err = j.KeepDocument(t.Context(), p.Hash(), text)
	}
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC()
	sent := 0
	for n := range 40 {
		id := fmt.Sprintf("tried-%d", n)
		in := policy.Input{Decision: journal.DecisionID(id, "d"), Player: id, Now: now, AsOf: now, Contacts: &policy.Contacts{}, Features: make([]float64, len(set.Names())),
			Facts: event.Facts{Jurisdiction: "GB", Brand: "acme", BirthDate: "1986-01-01", TimeZone: "Europe/London", LastProduct: "casino"}, Scores: map[string]float64{"leave": 0.5, "harm": 0.1}}
		for i, name := range set.Names() {
			switch name {
			case "load_fails_10m":
				in.Features[i] = 1
			case "since_deposit_s", "since_round_s":
				in.Features[i] = 1e6
			}
		}
		in.Facts.FailedGame = "book"
		rec := policy.Record{Input: in, Decision: *p.Decide(&in)}
		if rec.Decision.Issued && rec.Decision.Action == "retry_game" {
			sent++
		}
		open, personal := rec.Split()
		_, err := j.Record(t.Context(), id, journal.Anew, func(journal.View) (*journal.Draft, error) {
			return &journal.Draft{Kind: journal.KindDecision, Time: now, Open: open, Personal: personal, Decision: in.Decision}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if sent == 0 {
		t.Fatal("nothing was sent: the test can't fail")
	}
	actions := string(p.Files()["actions.yaml"])
	var out struct {
		Tried, Changed int
		Whole          bool
		Changes        []policy.Changed
	}
	body := map[string]any{"file": "actions.yaml", "text": strings.Replace(actions, "eligible: features.load_fails_10m >= 1.0 &&", "eligible: features.load_fails_10m >= 2.0 &&", 1), "hours": 1}
	if got := s.change("/api/policy/backtest", body, &out, as("otto")...); got != 200 || out.Tried != 40 || out.Changed != sent || !out.Whole {
		t.Fatalf("%d %+v, want %d of 40 changed", got, out, sent)
	}
	if c := out.Changes[0]; c.Action != "retry_game" || c.What != policy.WouldStop || c.Jurisdiction != "GB" || c.Brand != "acme" || c.Count != sent || len(c.Examples) == 0 {
		t.Errorf("%+v", c)
	}
	body["text"] = "nonsense"
	if got := s.change("/api/policy/backtest", body, nil, as("otto")...); got != 400 {
		t.Errorf("a text that does not compile: %d", got)
	}
}
