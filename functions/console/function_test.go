package console_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	funchttp "knative.dev/func-go/http"

	"pitboss/functions/console"
	"pitboss/internal/event"
	"pitboss/test/redistest"
)

// served is a console behind func-go's own server, as it is deployed.
type served struct {
	t   *testing.T
	url string
	f   *console.Function
}

func start(t *testing.T, cfg map[string]string) *served {
	t.Helper()
	if cfg == nil {
		cfg = map[string]string{}
	}
	if cfg["PITBOSS_APPROVERS"] == "" {
		cfg["PITBOSS_APPROVERS"] = "1"
	}
	if cfg["MODELS_DIR"] == "" {
		cfg["MODELS_DIR"] = "../../models"
	}
	f := console.New()
	server := httptest.NewUnstartedServer(funchttp.New(f).Handler)
	server.Config.WriteTimeout = 30 * time.Second
	server.Start()
	if err := f.Start(context.Background(), cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		server.Close()
	})
	return &served{t, server.URL, f}
}

// post sends an event in binary mode, as Knative's Triggers do.
func (s *served) post(typ, id, player string, ext map[string]string, data any) int {
	s.t.Helper()
	return s.postTo("/events", typ, id, player, ext, data)
}

func (s *served) postTo(path, typ, id, player string, ext map[string]string, data any) int {
	s.t.Helper()
	body, err := json.Marshal(data)
	if err != nil {
		s.t.Fatal(err)
	}
	req, _ := http.NewRequest("POST", s.url+path, bytes.NewReader(body))
	now := time.Now().UTC().Format(time.RFC3339Nano)
	for k, v := range map[string]string{"specversion": "1.0", "type": typ, "source": "/test", "id": id, "subject": player, "time": now} {
		req.Header.Set("Ce-"+k, v)
	}
	for k, v := range ext {
		req.Header.Set("Ce-"+k, v)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	res.Body.Close()
	return res.StatusCode
}

// get reads path into v and returns the status.
func (s *served) get(path string, v any) int {
	s.t.Helper()
	res, err := http.Get(s.url + path)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.read(res, v)
}

func (s *served) read(res *http.Response, v any) int {
	s.t.Helper()
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	if v != nil {
		if err := json.Unmarshal(body, v); err != nil {
			s.t.Fatalf("%s: %v in %s", res.Request.URL.Path, err, body)
		}
	}
	return res.StatusCode
}

// change POSTs JSON as the page does.
func (s *served) change(path string, in, out any, header ...string) int {
	s.t.Helper()
	body, _ := json.Marshal(in)
	req, _ := http.NewRequest("POST", s.url+path, bytes.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.read(res, out)
}

func recommendation(decision, action string) event.Recommendation {
	return event.Recommendation{
		Decision: decision, Action: action, Kind: "service", Channel: "in_app", Message: "Try the lobby's fastest table",
		Reasons: []event.Reason{{Code: "load-fails", Text: "The game failed to load twice."}},
		Scores:  map[string]float64{"leave": 0.81}, Arm: "greedy", DecidedAt: time.Now(),
		Trigger: event.Trigger{Type: event.TypeGameFailed, Source: "/test", ID: "e1", Time: time.Now().Add(-time.Second)},
	}
}

type liveFrame struct {
	Flow struct {
		Total, Redelivered int64
		Stages             map[string]struct{ Total int64 }
		Hops               map[string]struct {
			N   int64
			P50 float64 `json:"p50_ms"`
		}
		Rules []struct {
			Name string
			N    int64
			Text string
		}
	}
	Issued, Suppressed []struct{ Words, Decision string }
}

func (s *served) live() liveFrame {
	var out struct{ Frame liveFrame }
	s.get("/api/live", &out)
	return out.Frame
}

func TestFromEventsToThePage(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	began := time.Now()
	at := func(ms int) string { // fixed, so that a slow machine changes nothing
		return began.Add(time.Duration(ms) * time.Millisecond).UTC().Format(time.RFC3339Nano)
	}
	received := at(-100)
	if got := s.post(event.TypeGameFailed, "e1", "7f3c9a2be10d44aa", nil, event.GameFailed{Game: "roulette", Error: "timeout"}); got != 202 {
		t.Fatalf("event: %d", got)
	}
	hop := func(ms int) map[string]string {
		return map[string]string{"receivedtime": received, "knativearrivaltime": at(ms), "jurisdiction": "GB"}
	}
	s.post(event.TypePlayerScored, "s1", "7f3c9a2be10d44aa", hop(-60), map[string]any{"trigger": map[string]any{"id": "e1", "source": "/test"}, "features": map[string]any{"rounds_1h": 12.5}, "scores": map[string]any{"leave": 0.81}})
	s.post(event.TypePlayerUpdated, "u1", "7f3c9a2be10d44aa", hop(-80), map[string]any{"features": map[string]any{"rounds_1h": 12.5}}) // it arrives after an event that follows from it
	s.post(event.TypeRecommendation, "r1", "7f3c9a2be10d44aa", hop(-30), recommendation("s0001-d1", "reload_game"))
	blocked := recommendation("s0001-d2", "free_spins")
	blocked.Blocked = []event.Blocked{{Action: "free_spins", Rule: "GB-DM", Text: "Marketing needs an opt-in."}}
	s.post(event.TypeSuppressed, "r2", "7f3c9a2be10d44aa", hop(-30), blocked)
	s.post(event.TypeSuppressed, "r2", "7f3c9a2be10d44aa", hop(-30), blocked) // redelivered

	f := s.live()
	if f.Flow.Total != 5 || f.Flow.Redelivered != 1 {
		t.Errorf("counted %d and %d again, want 5 and 1", f.Flow.Total, f.Flow.Redelivered)
	}
	for _, name := range []string{"profile", "score", "decide"} {
		if h := f.Flow.Hops[name]; h.N < 1 || h.P50 < 19 || h.P50 > 31 {
			t.Errorf("hop %s: %+v, want about 20 to 30 ms", name, h)
		}
	}
	if len(f.Issued) != 1 || f.Issued[0].Words != "Player 7f3c9a2be10d44aa in GB: the game failed to load twice; reload game by in-app: “Try the lobby's fastest table”; leave risk 0.81." {
		t.Errorf("issued: %+v", f.Issued)
	}
	if len(f.Flow.Rules) != 1 || f.Flow.Rules[0].Name != "GB-DM" || f.Flow.Rules[0].N != 1 {
		t.Errorf("rules: %+v", f.Flow.Rules)
	}

	var why struct {
		Decision struct{ Action string }
		Inputs   *struct{ Features map[string]float64 }
	}
	if s.get("/api/decisions/s0001-d1", &why) != 200 || why.Inputs == nil || why.Inputs.Features["rounds_1h"] != 12.5 {
		t.Errorf("why: %+v", why)
	}
	var found struct{ Matched int }
	for query, want := range map[string]int{"": 2, "verdict=issued": 1, "rule=GB-DM": 1, "jurisdiction=SE": 0, "q=roulette": 0, "action=free_spins&verdict=suppressed": 1} {
		if s.get("/api/decisions?"+query, &found); found.Matched != want {
			t.Errorf("decisions?%s: %d, want %d", query, found.Matched, want)
		}
	}
	var player struct {
		Events []struct{ Type string }
	}
	if s.get("/api/players/7f3c9a2be10d44aa", &player) != 200 || len(player.Events) != 3 {
		t.Errorf("player: %+v", player)
	}
	s.post(event.TypePrivacyErase, "x1", "7f3c9a2be10d44aa", nil, event.PrivacyRequest{Request: "r"})
	if got := s.get("/api/players/7f3c9a2be10d44aa", nil); got != 404 {
		t.Errorf("after erasure the player is still shown: %d", got)
	}
	if s.get("/api/decisions", &found); found.Matched != 0 {
		t.Errorf("after erasure %d decisions are still shown", found.Matched)
	}
}

func TestCountsAreExactUnderLoad(t *testing.T) {
	t.Parallel()
	s := start(t, map[string]string{"CONSOLE_MEMORY_BYTES": "1048576"})
	const senders, each = 8, 500
	var all sync.WaitGroup
	for n := range senders {
		all.Go(func() {
			for i := range each {
				s.post(event.TypeRoundSettled, fmt.Sprintf("%d-%d", n, i), fmt.Sprintf("p%d-%d", n, i), nil, event.RoundSettled{Game: "g", Stake: 1})
			}
		})
	}
	all.Wait()
	if f := s.live(); f.Flow.Total != senders*each || f.Flow.Stages["platform"].Total != senders*each {
		t.Errorf("counted %d (%d), want %d", f.Flow.Total, f.Flow.Stages["platform"].Total, senders*each)
	}
	var kept struct {
		Kept  int
		Bytes int64
	}
	if s.get("/api/players", &kept); kept.Bytes > 1<<20 || kept.Kept < 100 {
		t.Errorf("kept %d players in %d bytes, want some, within 1 MiB", kept.Kept, kept.Bytes)
	}
}

func TestStreamAndDrain(t *testing.T) {
	t.Parallel()
	s := start(t, map[string]string{"CONSOLE_FRAME_EVERY": "50ms"})
	res, err := http.Get(s.url + "/api/stream")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.Header.Get("Content-Security-Policy") == "" || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("headers: %v", res.Header)
	}
	s.post(event.TypeRecommendation, "r1", "p", nil, recommendation("s0001-d1", "reload_game"))
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "s0001-d1") {
			break
		}
	}
	if lines.Err() != nil {
		t.Fatal(lines.Err())
	}
	if err := s.f.Stop(context.Background()); err != nil { // an open page must not delay the drain
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		t.Errorf("the stream did not end with the console: %v", err)
	}
}

func TestNotACloudEvent(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	res, err := http.Post(s.url+"/events", "text/plain", strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 400 {
		t.Errorf("got %d, want 400: never to be retried", res.StatusCode)
	}
	structured := `{"specversion":"1.0","type":"pitboss.session.started.v1","source":"/t","id":"1","subject":"p","time":"2026-01-01T00:00:00Z","data":{}}`
	if res, err = http.Post(s.url+"/events", "application/cloudevents+json", strings.NewReader(structured)); err != nil || res.StatusCode != 202 {
		t.Errorf("structured mode: %v %v", res.StatusCode, err)
	}
	res.Body.Close()
}

func tokensFile(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "tokens")
	text := "# role name token\nviewer vera viewer-token-0123456789\noperator,viewer otto operator-token-0123456\ncompliance cora compliance-token-01234\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestRoles(t *testing.T) {
	t.Parallel()
	s := start(t, map[string]string{"CONSOLE_TOKENS_FILE": tokensFile(t)})
	bearer := func(token string) []string { return []string{"Authorization", "Bearer " + token} }
	if got := s.get("/api/live", nil); got != 401 {
		t.Errorf("without a token: %d, want 401", got)
	}
	if got := s.get("/", nil); got != 200 {
		t.Errorf("the page itself (it asks for the token): %d", got)
	}
	for _, c := range []struct {
		token string
		path  string
		want  int
	}{
		{"viewer-token-0123456789", "/api/deadletters/replay", 403},
		{"viewer-token-0123456789", "/api/switches", 403},
		{"operator-token-0123456", "/api/switches", 403},
		{"compliance-token-01234", "/api/deadletters/replay", 403},
		{"operator-token-0123456", "/api/deadletters/1/discard", 200},
		{"compliance-token-01234", "/api/switches", 400}, // the body is wrong, but the person may do it
		{"nobody-has-this-token-0", "/api/switches", 401},
	} {
		if got := s.change(c.path, map[string]string{}, nil, bearer(c.token)...); got != c.want {
			t.Errorf("%s with %s: %d, want %d", c.path, c.token, got, c.want)
		}
	}
}

// Only a policy file may be long. Whoever is not signed in can send no more than 64 KiB.
func TestAChangeIsSmall(t *testing.T) {
	t.Parallel()
	s := start(t, map[string]string{"CONSOLE_TOKENS_FILE": tokensFile(t)})
	for size, want := range map[int]int{60 << 10: 401, 65 << 10: 400} {
		if got := s.change("/api/login", map[string]string{"token": strings.Repeat("x", size)}, nil); got != want {
			t.Errorf("a token of %d bytes: %d, want %d", size, got, want)
		}
	}
}

func TestSessionIsForThisSiteOnly(t *testing.T) {
	t.Parallel()
	s := start(t, map[string]string{"CONSOLE_TOKENS_FILE": tokensFile(t)})
	body := strings.NewReader(`{"token":"operator-token-0123456"}`)
	res, err := http.Post(s.url+"/api/login", "application/json", body)
	if err != nil || res.StatusCode != 200 || len(res.Cookies()) != 1 {
		t.Fatalf("login: %v %v %v", res.StatusCode, res.Cookies(), err)
	}
	res.Body.Close()
	c := res.Cookies()[0]
	if !c.HttpOnly || c.SameSite != http.SameSiteLaxMode {
		t.Errorf("cookie: %+v, want HttpOnly and SameSite=Lax", c)
	}
	cookie := []string{"Cookie", c.Name + "=" + c.Value}
	if got := s.change("/api/deadletters/1/discard", struct{}{}, nil, cookie...); got != 200 {
		t.Errorf("with the session: %d", got)
	}
	if got := s.change("/api/deadletters/1/discard", struct{}{}, nil, append(cookie, "Sec-Fetch-Site", "cross-site")...); got != 403 {
		t.Errorf("from another site: %d, want 403", got)
	}
	if got := s.change("/api/deadletters/1/discard", struct{}{}, nil, append(cookie, "Content-Type", "text/plain")...); got != 415 {
		t.Errorf("as a form could send it: %d, want 415", got)
	}
	forged := []string{"Cookie", c.Name + "=" + c.Value[:len(c.Value)-2] + "xx"}
	if got := s.change("/api/deadletters/1/discard", struct{}{}, nil, forged...); got != 401 {
		t.Errorf("with a forged session: %d, want 401", got)
	}
}

func TestOpenOnLoopbackOnly(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	if got := s.get("/api/live", nil); got != 200 {
		t.Errorf("from loopback: %d", got)
	}
	req, _ := http.NewRequest("GET", s.url+"/api/live", nil)
	req.Host = "rebound.example"
	res, err := http.DefaultClient.Do(req)
	if err != nil || res.StatusCode != 401 {
		t.Errorf("by a name that resolves to loopback: %v %v, want 401", res.StatusCode, err)
	}
	res.Body.Close()
	behind := start(t, map[string]string{"K_SERVICE": "pitboss-console"})
	if got := behind.get("/api/live", nil); got != 401 {
		t.Errorf("behind queue-proxy, where all callers look like loopback: %d, want 401", got)
	}
}

func TestPageHasNothingInline(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	res, err := http.Get(s.url + "/players/somebody")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	html, _ := io.ReadAll(res.Body)
	csp := res.Header.Get("Content-Security-Policy")
	if strings.Contains(csp, "unsafe") || !strings.Contains(csp, "script-src 'self'") {
		t.Errorf("policy: %s", csp)
	}
	if !bytes.Contains(html, []byte(`<script type="module" crossorigin src="/assets/`)) || bytes.Contains(html, []byte("<style")) {
		t.Errorf("page: %s", html)
	}
}

// startReview starts a console with this Broker and a decision about alice that waits for
// review.
func startReview(t *testing.T, broker http.HandlerFunc) *served {
	t.Helper()
	server := httptest.NewServer(broker)
	t.Cleanup(server.Close)
	s := start(t, map[string]string{"REDIS_URL": redistest.Start(t), "K_SINK": server.URL})
	rec := recommendation("s0001-d1", "reload_game")
	rec.Review = true
	s.post(event.TypeRecommendation, "r1", "alice", nil, rec)
	return s
}

// Every change is in the journal's hash chain, with who made it.
func TestChangesAreJournaled(t *testing.T) {
	t.Parallel()
	var sent []string
	var mu sync.Mutex
	s := startReview(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		sent = append(sent, r.Header.Get("Ce-Type")+" "+r.Header.Get("Ce-Subject"))
		w.WriteHeader(http.StatusAccepted)
	})
	if got := s.change("/api/switches", map[string]any{"what": "action", "name": "free_spins", "on": true, "note": "test"}, nil); got != 200 {
		t.Fatalf("switch: %d", got)
	}
	for what, name := range map[string]string{"action": "free_spinz", "rule": "GB-DMX", "model": "leaf", "jurisdiction": "XX"} {
		if got := s.change("/api/switches", map[string]any{"what": what, "name": name, "on": true, "note": "test"}, nil); got != 400 {
			t.Errorf("switch %s %s: %d, want 400", what, name, got)
		}
	}
	if got := s.change("/api/players/alice/erase", map[string]string{"confirm": "bob", "request": "R-1"}, nil); got != 400 {
		t.Errorf("erase without the right id typed: %d, want 400", got)
	}
	if got := s.change("/api/players/alice/erase", map[string]string{"confirm": "alice", "request": "R-1"}, nil); got != 200 {
		t.Errorf("erase: %d", got)
	}
	if got := s.change("/api/reviews/s0001-d1", map[string]string{"verdict": "overturned", "note": "not now"}, nil); got != 200 {
		t.Errorf("review: %d", got)
	}
	if got := s.change("/api/reviews/s0001-d1", map[string]string{"verdict": "approved", "note": "again"}, nil); got != 409 {
		t.Errorf("second review: %d, want 409", got)
	}
	var out struct {
		Changes []struct{ What, Who, Subject, Hash string }
	}
	s.get("/api/changes", &out)
	var got []string
	for _, c := range out.Changes {
		got = append(got, c.What)
		if c.Who != "local" || c.Hash == "" || c.Subject == "alice" {
			t.Errorf("change: %+v", c)
		}
	}
	if want := "review.overturned player.erase kill-switch.on"; strings.Join(got, " ") != want {
		t.Errorf("changes: %v, want %s", got, want)
	}
	mu.Lock()
	defer mu.Unlock()
	if want := event.TypeSwitchTurned + " action/free_spins," + event.TypePrivacyErase + " alice," + event.TypeRevoked + " alice," + event.TypeReviewDecided + " alice"; strings.Join(sent, ",") != want {
		t.Errorf("sent %v, want %s", sent, want)
	}
}

// If the Broker accepts only one of an overturned review's two events, the review is not
// done, and doing it again sends the same two events.
func TestAReviewThatHalfArrivedIsSaidAgain(t *testing.T) {
	t.Parallel()
	for _, fails := range []string{event.TypeRevoked, event.TypeReviewDecided} {
		var mu sync.Mutex
		took, down := map[string]string{}, true
		s := startReview(t, func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			typ, id := r.Header.Get("Ce-Type"), r.Header.Get("Ce-Id")
			if down && typ == fails {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			if took[typ] != "" && took[typ] != id {
				t.Errorf("%s with another id: nobody would know that it is the same", typ)
			}
			took[typ] = id
			w.WriteHeader(http.StatusAccepted)
		})
		overturn := func() int {
			return s.change("/api/reviews/s0001-d1", map[string]string{"verdict": "overturned", "note": "not now"}, nil)
		}
		if got := overturn(); got < 500 {
			t.Errorf("without %s: %d, want an error", fails, got)
		}
		mu.Lock()
		down = false
		mu.Unlock()
		if got := overturn(); got != 200 || took[event.TypeRevoked] == "" || took[event.TypeReviewDecided] == "" {
			t.Errorf("again, with %s: %d, arrived: %v", fails, got, took)
		}
	}
}

func TestDeadLettersByPost(t *testing.T) {
	t.Parallel()
	var back []string
	broker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		back = append(back, r.Header.Get("Ce-Id")+r.Header.Get("Ce-Knativeerrorcode"))
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(broker.Close)
	s := start(t, map[string]string{"REDIS_URL": redistest.Start(t), "K_SINK": broker.URL})
	for i := range 3 {
		req, _ := http.NewRequest("POST", s.url+"/deadletters", strings.NewReader(`{}`))
		for k, v := range map[string]string{"specversion": "1.0", "type": event.TypeRoundSettled, "source": "/t", "id": fmt.Sprint("e", i),
			"knativeerrordest": "http://pitboss-profile.default.svc/", "knativeerrorcode": "400", "knativeerrordata": "bm8gc3ViamVjdA=="} {
			req.Header.Set("Ce-"+k, v)
		}
		req.Header.Set("Content-Type", "application/json")
		if res, err := http.DefaultClient.Do(req); err != nil || res.StatusCode != 202 {
			t.Fatalf("dead letter: %v %v", res, err)
		}
	}
	var list struct {
		DeadLetters []struct {
			ID, Reason, Trigger string
			Code                int
		} `json:"dead_letters"`
	}
	s.get("/api/deadletters", &list)
	if len(list.DeadLetters) != 3 || list.DeadLetters[0].Reason != "no subject" || list.DeadLetters[0].Code != 400 {
		t.Fatalf("dead letters: %+v", list.DeadLetters)
	}
	if got := s.change("/api/deadletters/"+list.DeadLetters[0].ID+"/replay", struct{}{}, nil); got != 200 {
		t.Errorf("replay: %d", got)
	}
	var n struct{ Replayed int }
	if s.change("/api/deadletters/replay", struct{}{}, &n); n.Replayed != 2 {
		t.Errorf("replayed %d, want the other 2", n.Replayed)
	}
	if len(back) != 3 {
		t.Errorf("the Broker got %v, want each once, without the error's attributes", back)
	}
	if got := s.change("/api/deadletters/77/replay", struct{}{}, nil); got != 404 {
		t.Errorf("a dead letter that is not there: %d, want 404", got)
	}
}

// An erasure also removes dead letters in memory, which privacy cannot reach, and
// privacy.erased does not bring the player back.
func TestErasedPlayersLeaveNothing(t *testing.T) {
	t.Parallel()
	s := start(t, nil) // no Redis: dead letters are in memory
	for i, player := range []string{"alice", "bob", "alice"} {
		req, _ := http.NewRequest("POST", s.url+"/deadletters", strings.NewReader(`{}`))
		for k, v := range map[string]string{"specversion": "1.0", "type": event.TypeRoundSettled, "source": "/t", "id": fmt.Sprint("e", i), "subject": player} {
			req.Header.Set("Ce-"+k, v)
		}
		if res, err := http.DefaultClient.Do(req); err != nil || res.StatusCode != 202 {
			t.Fatalf("dead letter: %v %v", res, err)
		}
	}
	s.post(event.TypeSessionStarted, "s1", "alice", nil, struct{}{})
	s.post(event.TypePrivacyErase, "p1", "alice", nil, event.PrivacyRequest{Request: "R-1"})
	s.post(event.TypePrivacyErased, "p2", "alice", nil, event.PrivacyErased{Request: "R-1"})
	var text string
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		text = ""
		for _, path := range []string{"/api/deadletters", "/api/players?q=alice", "/api/live"} {
			res, err := http.Get(s.url + path)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(res.Body)
			res.Body.Close()
			text += string(body)
		}
		if !strings.Contains(text, "alice") {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("alice is still there: %s", text)
		}
	}
	if !strings.Contains(text, "bob") {
		t.Error("bob's dead letter is gone, too")
	}
}

func TestPromoteAndRollBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../../models")); err != nil {
		t.Fatal(err)
	}
	v2 := filepath.Join(dir, "leave", "v2")
	manifest, err := os.ReadFile(filepath.Join(dir, "leave", "v1", "model.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	_ = os.MkdirAll(v2, 0o755)
	_ = os.WriteFile(filepath.Join(v2, "model.yaml"), bytes.Replace(manifest, []byte("version: v1"), []byte("version: v2"), 1), 0o644)
	serving := filepath.Join(dir, "serving.yaml")
	_ = os.WriteFile(serving, []byte("# a comment that stays\nleave: {live: v1}\n"), 0o644)
	s := start(t, map[string]string{"MODELS_DIR": dir})
	live := func() string { b, _ := os.ReadFile(serving); return string(b) }
	if got := s.change("/api/models/leave/promote", map[string]string{"version": "v9", "note": "n"}, nil); got != 409 {
		t.Errorf("a version that is not there: %d, want 409", got)
	}
	if got := s.change("/api/models/leave/promote", map[string]string{"version": "v2", "note": "n"}, nil); got != 200 || !strings.Contains(live(), "live: v2, shadow: [v1], previous: v1") || !strings.HasPrefix(live(), "# a comment") {
		t.Errorf("promote: %d %s", got, live())
	}
	if got := s.change("/api/models/leave/rollback", map[string]string{"note": "n"}, nil); got != 200 || !strings.Contains(live(), "live: v1") {
		t.Errorf("roll back: %d %s", got, live())
	}
	var list struct {
		Models []struct{ Name, Version, Role string }
	}
	s.get("/api/models", &list)
	roles := map[string]string{}
	for _, m := range list.Models {
		roles[m.Version] = m.Role
	}
	if roles["v1"] != "live" || roles["v2"] != "shadow" {
		t.Errorf("models: %+v", list.Models)
	}
}

// An open page must not delay answers to the Broker: the events of one second at full load
// take well under a second.
func BenchmarkReceive(b *testing.B) {
	f := console.New()
	if err := f.Start(context.Background(), map[string]string{"MODELS_DIR": "../../models"}); err != nil {
		b.Fatal(err)
	}
	defer f.Stop(context.Background())
	body := []byte(`{"game":"roulette","product":"casino","stake":100,"win":0,"currency":"GBP"}`)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		r := httptest.NewRequest("POST", "/events", bytes.NewReader(body))
		for k, v := range map[string]string{"Specversion": "1.0", "Type": event.TypeRoundSettled, "Source": "/bench", "Id": fmt.Sprint(i), "Subject": fmt.Sprint("p", i%5000), "Time": "2026-11-22T23:00:00Z"} {
			r.Header.Set("Ce-"+k, v)
		}
		f.Handle(httptest.NewRecorder(), r)
	}
}
