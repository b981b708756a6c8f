package console_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"pitboss/internal/event"
)

type liveCounts struct {
	Frame struct {
		Limited bool
		Flow    struct {
			Stages         map[string]struct{ Total int64 }
			Rules, Actions []struct {
				Name string
				N    int64
			}
			Jurisdictions []struct{ Name string }
		}
		Troubles []struct{ Name string }
	}
	Series map[string][]int64
}

// A person with roles at some places sees how many decisions were made there, and not how
// many were made elsewhere.
func TestLiveCountsWhatAPersonMaySee(t *testing.T) {
	t.Parallel()
	tokens := map[string]string{"viewer": "everybody-token-012345", "viewer@GB": "jurisdiction-token-0123", "viewer@GB/one": "pair-token-0123456789", "viewer@*/two": "brand-token-0123456789"}
	file, text := filepath.Join(t.TempDir(), "tokens"), ""
	for role, token := range tokens {
		text += fmt.Sprintf("%s someone %s\n", role, token)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, map[string]string{"CONSOLE_TOKENS_FILE": file})
	sees := map[string]func(jurisdiction, brand string) bool{
		"viewer": func(_, _ string) bool { return true }, "viewer@GB": func(j, _ string) bool { return j == "GB" },
		"viewer@GB/one": func(j, b string) bool { return j == "GB" && b == "one" }, "viewer@*/two": func(_, b string) bool { return b == "two" },
	}
	want := map[string]map[string]int64{}
	r := rand.New(rand.NewPCG(3, 4))
	for n := range 60 {
		jurisdiction, brand := []string{"GB", "SE"}[r.IntN(2)], []string{"one", "two"}[r.IntN(2)]
		typ, stage := event.TypeRecommendation, "issued"
		rec := recommendation(fmt.Sprint("d", n), "reload_game")
		if r.IntN(2) == 0 {
			typ, stage = event.TypeSuppressed, "suppressed"
			rec.Blocked = []event.Blocked{{Action: rec.Action, Rule: jurisdiction + "-RULE", Text: "No."}}
		}
		s.post(typ, fmt.Sprint("e", n), fmt.Sprint("player", n), map[string]string{"jurisdiction": jurisdiction, "brand": brand}, rec)
		for role, may := range sees {
			if want[role] == nil {
				want[role] = map[string]int64{}
			}
			if may(jurisdiction, brand) {
				want[role][stage]++
			}
		}
	}
	for role, token := range tokens {
		got := s.liveOf(token)
		if got.Frame.Limited != (role != "viewer") {
			t.Errorf("%s: limited %v", role, got.Frame.Limited)
		}
		for stage, n := range want[role] {
			var inLine int64
			for _, x := range got.Series[stage] {
				inLine += x
			}
			if got.Frame.Flow.Stages[stage].Total != n || inLine > n {
				t.Errorf("%s: %s %d, in the chart %d, want %d", role, stage, got.Frame.Flow.Stages[stage].Total, inLine, n)
			}
		}
		var rules, actions int64
		for _, x := range got.Frame.Flow.Rules {
			if rules += x.N; x.Name == "SE-RULE" && !sees[role]("SE", "two") {
				t.Errorf("%s is told of %s", role, x.Name)
			}
		}
		for _, x := range got.Frame.Flow.Actions {
			actions += x.N
		}
		if rules != want[role]["suppressed"] || actions != want[role]["issued"] {
			t.Errorf("%s: %d by rule and %d by action, want %v", role, rules, actions, want[role])
		}
		for _, x := range got.Frame.Flow.Jurisdictions {
			if x.Name == "SE" && !sees[role]("SE", "two") {
				t.Errorf("%s is told of SE", role)
			}
		}
	}
}

func (s *served) liveOf(token string) (out liveCounts) {
	s.t.Helper()
	req, _ := http.NewRequest("GET", s.url+"/api/live", nil)
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil {
		s.t.Fatal(err)
	}
	return out
}
