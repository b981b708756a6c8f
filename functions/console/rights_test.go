package console_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pitboss/internal/event"
	"pitboss/internal/journal"
	"pitboss/test/redistest"
)

// as sends a request with a token.
func (s *served) as(token, method, path string, in, out any) int {
	s.t.Helper()
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			s.t.Fatal(err)
		}
		body = strings.NewReader(string(raw))
	}
	req, _ := http.NewRequest(method, s.url+path, body)
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Pitboss-From", "/review")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.read(res, out)
}

const (
	vera = "viewer-token-0123456789"  // viewer, everywhere
	gabe = "gb-viewer-token-0123456"  // viewer, GB only
	cora = "compliance-token-01234"   // compliance, everywhere
	stig = "se-compliance-token-0123" // compliance, SE only
)

func placedTokens(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "tokens")
	text := "viewer vera " + vera + "\nviewer@GB gabe " + gabe + "\ncompliance cora " + cora + "\ncompliance@SE stig " + stig + "\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// broker accepts events and records them.
type broker struct {
	url  string
	mu   sync.Mutex
	sent []string
}

func newBroker(t *testing.T) *broker {
	b := &broker{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		b.mu.Lock()
		defer b.mu.Unlock()
		b.sent = append(b.sent, r.Header.Get("Ce-Type")+" "+r.Header.Get("Ce-Subject")+" "+string(body))
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(server.Close)
	b.url = server.URL
	return b
}

func (b *broker) took(text string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.ContainsFunc(b.sent, func(s string) bool { return strings.Contains(s, text) })
}

// People with roles at a place see only its players, in frames, in lists, on pages and by a
// guessed address, and can act only there.
func TestRolesHoldAtTheirPlaces(t *testing.T) {
	t.Parallel()
	s := start(t, map[string]string{"CONSOLE_TOKENS_FILE": placedTokens(t)})
	for _, place := range []string{"GB", "SE"} {
		rec := recommendation("s0001-"+place, "reload_game")
		rec.Review = true
		s.post(event.TypeRecommendation, "r"+place, "player-"+place, map[string]string{"jurisdiction": place, "brand": "one"}, rec)
		s.post(event.TypePlayerScored, "p"+place, "player-"+place, nil, map[string]any{"facts": map[string]any{"jurisdiction": place, "brand": "one"}, "scores": map[string]any{"leave": .5}, "features": map[string]any{}})
	}
	for _, c := range []struct {
		who, path string
		se, gb    bool
	}{
		{vera, "/api/live", true, true}, {gabe, "/api/live", false, true}, {stig, "/api/live", true, false},
		{gabe, "/api/players", false, true}, {stig, "/api/players", true, false}, {cora, "/api/players", true, true},
		{gabe, "/api/reviews", false, true}, {stig, "/api/reviews", true, false}, {gabe, "/api/decisions", false, true}, {stig, "/api/decisions", true, false},
	} {
		req, _ := http.NewRequest("GET", s.url+c.path, nil)
		req.Header.Set("Authorization", "Bearer "+c.who)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if strings.Contains(string(body), "player-SE") != c.se || strings.Contains(string(body), "player-GB") != c.gb {
			t.Errorf("%s for %s: SE %v, GB %v", c.path, c.who, strings.Contains(string(body), "player-SE"), strings.Contains(string(body), "player-GB"))
		}
	}
	for _, c := range []struct {
		who, path string
		want      int
	}{
		{gabe, "/api/players/player-GB", 200}, {gabe, "/api/players/player-SE", 403}, {gabe, "/api/decisions/s0001-SE", 403}, {gabe, "/api/decisions/s0001-GB", 200},
		{stig, "/api/decisions/s0001-GB", 403}, {gabe, "/api/deadletters", 403}, {gabe, "/api/changes", 403}, {vera, "/api/changes", 200}, {gabe, "/api/rules", 200},
	} {
		if got := s.as(c.who, "GET", c.path, nil, nil); got != c.want {
			t.Errorf("%s for %s: %d, want %d", c.path, c.who, got, c.want)
		}
	}
	overturn := map[string]string{"verdict": "overturned", "note": "no"}
	if got := s.as(stig, "POST", "/api/reviews/s0001-GB", overturn, nil); got != 403 {
		t.Errorf("review elsewhere: %d", got)
	}
	turn := map[string]any{"what": "action", "name": "free_spins", "on": true, "note": "n"}
	if got := s.as(stig, "POST", "/api/switches", turn, nil); got != 403 {
		t.Errorf("a switch that acts everywhere: %d", got)
	}
	turn["what"], turn["name"] = "jurisdiction", "GB"
	if got := s.as(stig, "POST", "/api/switches", turn, nil); got != 403 {
		t.Errorf("another place's switch: %d", got)
	}
	if turn["name"] = "SE"; s.as(stig, "POST", "/api/switches", turn, nil) != 409 { // allowed; there is no Redis here
		t.Error("one's own place's switch is refused")
	}
}

// Only compliance sees birth dates and markers of harm, in any answer. Every reading of a
// player's data is journaled once.
func TestMaskedAndTold(t *testing.T) {
	t.Parallel()
	s := start(t, map[string]string{"CONSOLE_TOKENS_FILE": placedTokens(t), "REDIS_URL": redistest.Start(t)})
	at := map[string]string{"jurisdiction": "SE", "brand": "one"}
	s.post(event.TypeAccountRegistered, "a1", "ann", at, map[string]any{"jurisdiction": "SE", "birth_date": "1999-07-07", "brand": "one"})
	s.post(event.TypeIndicatorRaised, "a2", "ann", at, map[string]any{"group": "spend-secret", "strength": "strong"})
	s.post(event.TypePlayerScored, "a3", "ann", nil, map[string]any{"trigger": map[string]any{"id": "e1", "source": "/test"}, "features": map[string]any{"x": 1},
		"facts": map[string]any{"jurisdiction": "SE", "brand": "one", "birth_date": "1999-07-07", "indicators": map[string]string{"spend-secret": "strong"}}})
	rec := recommendation("s0001-d1", "call")
	rec.Reasons = append(rec.Reasons, event.Reason{Code: "marker:spend-secret", Text: "Lost 500.00 spend-secret in an hour."})
	s.post(event.TypeRecommendation, "r1", "ann", at, rec)
	ask := func(token, path string) string {
		req, _ := http.NewRequest("GET", s.url+path, nil)
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Pitboss-From", "/review")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		if res.StatusCode != 200 {
			t.Fatalf("%s: %d %s", path, res.StatusCode, body)
		}
		return string(body)
	}
	secret := func(text string) bool {
		return strings.Contains(text, "1999-07-07") || strings.Contains(text, "spend-secret")
	}
	for _, path := range []string{"/api/players/ann", "/api/decisions/s0001-d1", "/api/live"} {
		if text := ask(vera, path); secret(text) {
			t.Errorf("%s tells a viewer: %s", path, text)
		}
		if !secret(ask(stig, path)) {
			t.Errorf("%s hides it from compliance", path)
		}
		ask(vera, path)
	}
	var out struct {
		Changes []struct{ What, Who, Subject, Note string }
	}
	s.as(vera, "GET", "/api/changes?reads=1", nil, &out)
	who := map[string]int{}
	for _, c := range out.Changes {
		if c.What != "player.read" || c.Subject != event.HashPlayer("ann") || c.Note != "/review" {
			t.Errorf("entry: %+v", c)
		}
		who[c.Who]++
	}
	if len(who) != 2 || who["vera"] != 1 || who["stig"] != 1 {
		t.Errorf("who looked, and how often: %v, want vera and stig, once each", who)
	}
	if s.as(vera, "GET", "/api/changes", nil, &out); len(out.Changes) != 0 {
		t.Errorf("readings are no changes: %+v", out.Changes)
	}
}

func TestEnteringAnExclusion(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	s := start(t, map[string]string{"K_SINK": b.url})
	day := time.Now().Add(400 * 24 * time.Hour).Format(time.DateOnly)
	for _, bad := range []map[string]string{
		{"confirm": "bob", "note": "by phone"}, {"confirm": "ann"}, {"confirm": "ann", "note": "by phone", "until": "tomorrow"}, {"confirm": "ann", "note": "by phone", "until": "2020-01-01"},
	} {
		if got := s.change("/api/players/ann/exclude", bad, nil); got != 400 {
			t.Errorf("%v: %d", bad, got)
		}
	}
	if got := s.change("/api/players/ann/exclude", map[string]string{"confirm": "ann", "note": "by phone", "until": day}, nil); got != 200 {
		t.Fatalf("exclude: %d", got)
	}
	if !b.took(event.TypeExcluded+" ann") || !b.took(`"scheme":"operator"`) || !b.took(day) {
		t.Errorf("sent: %v", b.sent)
	}
	var out struct {
		Changes []struct{ What, Subject, Note string }
	}
	if s.get("/api/changes", &out); len(out.Changes) != 1 || out.Changes[0].What != "player.exclude" || out.Changes[0].Subject == "ann" || out.Changes[0].Note != "by phone" {
		t.Errorf("changes: %+v", out.Changes)
	}
}

// Several cases can be assigned and reviewed at once. Failures are reported one by one.
func TestCases(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	s := start(t, map[string]string{"K_SINK": b.url, "REDIS_URL": redistest.Start(t)})
	var ids []string
	for i := range 3 {
		rec := recommendation(fmt.Sprint("s0001-d", i), "call")
		rec.Review = true
		ids = append(ids, rec.Decision)
		s.post(event.TypeRecommendation, rec.Decision, "ann", nil, rec)
	}
	type queue struct {
		Open []struct {
			Decision string
			Assigned *struct{ Who, By string }
		}
		Done []struct{ Decision string }
	}
	var q queue
	if got := s.change("/api/reviews/assign", map[string]any{"decisions": ids[:2], "to": "cora"}, nil); got != 200 {
		t.Fatalf("assign: %d", got)
	}
	s.get("/api/reviews", &q)
	given := 0
	for _, c := range q.Open {
		if c.Assigned != nil && c.Assigned.Who == "cora" && c.Assigned.By == "local" {
			given++
		}
	}
	if len(q.Open) != 3 || given != 2 {
		t.Errorf("%d open, %d given: %+v", len(q.Open), given, q.Open)
	}
	s.change("/api/reviews/assign", map[string]any{"decisions": ids[:1], "to": ""}, nil)
	var said struct {
		Done   int
		Failed []struct{ Decision, Why string }
	}
	all := append(slices.Clone(ids), "s0001-unknown")
	if got := s.change("/api/reviews", map[string]any{"decisions": all, "verdict": "approved", "note": "looked at"}, &said); got != 200 || said.Done != 3 || len(said.Failed) != 1 || said.Failed[0].Decision != "s0001-unknown" {
		t.Errorf("review of all: %d %+v", got, said)
	}
	q = queue{}
	if s.get("/api/reviews", &q); len(q.Open) != 0 || len(q.Done) != 3 {
		t.Errorf("after it: %+v", q)
	}
	for _, bad := range []any{map[string]any{"decisions": []string{}, "to": "x"}, map[string]any{"decisions": make([]string, 201), "to": "x"}} {
		if got := s.change("/api/reviews/assign", bad, nil); got != 400 {
			t.Errorf("assign %v: %d", bad, got)
		}
	}
}

// A copy can be fetched as JSON, byte for byte, and as a page without scripts that shows when
// and where each consent was given.
func TestAnExportCanBeRead(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t)
	rdb := redistest.Client(t, url)
	doc := `{"player":"ann","request":"DSR-1","made":"2026-01-02T03:04:05Z","facts":{"jurisdiction":"SE","birth_date":"1999-07-07","brand":"<script>alert(1)</script>","currency":"SEK",
"limits":{"deposit/month":{"amount":50000},"time/day":{"amount":5400}},"indicators":{"behaviour":"strong"}},
"consents":[{"about":"casino/email","granted":true,"at":"2025-05-06T07:08:09Z","origin":"shop"}],"contacts":null}`
	if err := journal.New(rdb, 1).PutExport(t.Context(), "ann", "DSR-1", []byte(doc), time.Hour); err != nil {
		t.Fatal(err)
	}
	s := start(t, map[string]string{"REDIS_URL": url})
	if got := fetch(t, s.url+"/api/exports/DSR-1", ""); string(got.body) != doc {
		t.Errorf("JSON: %s", got.body)
	}
	for language, wants := range map[string][]string{
		"":   {`lang="en"`, "6 May 2025, 07:08 UTC", "casino, email", "deposit 500.00 SEK per month", "time 1 h 30 min per day", "behaviour: strong"},
		"xx": {`lang="en"`, "What is kept about you"},
		"de": {`lang="de"`, "6. Mai 2025, 07:08 UTC", "Casino, E-Mail", "Einzahlung 500,00 SEK je Monat", "Verhalten: stark"},
		"sv": {`lang="sv"`, "6 maj 2025, 07:08 UTC", "kasino, e-post", "insättning 500,00 SEK per månad"},
		"es": {`lang="es"`, "6 de mayo de 2025, 07:08 UTC", "casino, correo electrónico", "depósito 500,00 SEK por mes"},
	} {
		page := string(fetch(t, s.url+"/api/exports/DSR-1?as=html&language="+language, "").body)
		for _, want := range append(wants, "1999-07-07", "shop", "&lt;script&gt;", "</html>") {
			if !strings.Contains(page, want) {
				t.Errorf("%q: the page has no %q: %s", language, want, page)
			}
		}
		if strings.Contains(page, "<script") {
			t.Error("the page runs what an event said")
		}
	}
	if got := s.get("/api/exports/DSR-2", nil); got != 404 {
		t.Errorf("a copy that is not there: %d", got)
	}
}

// Open pages are told who was erased, and open reviews of erased players disappear.
func TestTheErasedLeaveOpenPages(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	rec := recommendation("s0001-d1", "call")
	rec.Review = true
	s.post(event.TypeRecommendation, "r1", "ann", nil, rec)
	s.post(event.TypePrivacyErase, "x1", "ann", nil, event.PrivacyRequest{Request: "r"})
	res, err := http.Get(s.url + "/api/stream")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var frame struct {
		Erased []string
		Issued []any
	}
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			if err := json.Unmarshal([]byte(text), &frame); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	if !slices.Equal(frame.Erased, []string{"ann"}) || len(frame.Issued) != 0 {
		t.Errorf("the stream: %+v", frame)
	}
	var q struct{ Open []any }
	if s.get("/api/reviews", &q); len(q.Open) != 0 {
		t.Errorf("still open: %v", q.Open)
	}
}
