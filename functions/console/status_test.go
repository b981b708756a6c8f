package console_test

import (
	"compress/gzip"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"pitboss/internal/event"
	"pitboss/test/redistest"
)

type shownDecision struct {
	Decision, Verdict, Status, Words string
	Happened                         []struct{ Status string }
}

func (s *served) decision(id string) shownDecision {
	s.t.Helper()
	var page struct{ Decision shownDecision }
	if status := s.get("/api/decisions/"+id, &page); status != http.StatusOK {
		s.t.Fatalf("%s: status %d", id, status)
	}
	return page.Decision
}

func issue(s *served, id, action string) {
	s.t.Helper()
	rec := event.Recommendation{Decision: id, Action: action, Kind: "marketing", Channel: "inbox", Reasons: []event.Reason{{Code: "r", Text: "Because."}}, DecidedAt: time.Now().UTC()}
	if status := s.post(event.TypeRecommendation, id, "alice", nil, rec); status != http.StatusAccepted {
		s.t.Fatalf("issued: %d", status)
	}
}

// Outcomes may arrive in any order and twice. The status is the same.
func TestADecisionSaysWhatBecameOfIt(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		outcomes []string
		want     string
	}{
		"in order":          {[]string{event.TypeDelivered, event.TypeAccepted}, "accepted"},
		"out of order":      {[]string{event.TypeAccepted, event.TypeDelivered}, "accepted"},
		"delivered twice":   {[]string{event.TypeDelivered, event.TypeDelivered}, "delivered"},
		"dismissed":         {[]string{event.TypeDelivered, event.TypeDismissed}, "dismissed"},
		"never got through": {[]string{event.TypeExpired}, "expired"},
		"nothing yet":       {nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, nil)
			issue(s, "d1", "cash_back")
			for i, typ := range tc.outcomes {
				s.post(typ, typ+string(rune('0'+i)), "alice", nil, event.Outcome{Recommendation: "d1"})
			}
			if got := s.decision("d1"); got.Status != tc.want {
				t.Errorf("status %q, want %q; happened %v", got.Status, tc.want, got.Happened)
			}
		})
	}
}

func TestARevocationNamesWhatItTakesBack(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	issue(s, "d1", "free_spins")
	issue(s, "d2", "cash_back")
	issue(s, "d3", "lobby_tip")
	s.post(event.TypeDelivered, "o1", "alice", nil, event.Outcome{Recommendation: "d2"})
	s.post(event.TypeRevoked, "r1", "alice", nil, event.Recommendation{Decision: "r1", Action: "none", Kind: "marketing", Revoked: []string{"d1", "d2"},
		Reasons: []event.Reason{{Code: "excluded", Text: "The player was excluded by GAMSTOP."}}, DecidedAt: time.Now().UTC()})
	words := s.decision("r1").Words
	if !strings.Contains(words, "free spins") || !strings.Contains(words, "cash back (delivered already)") || strings.Contains(words, "lobby") {
		t.Errorf("words: %s", words)
	}
	for id, want := range map[string]string{"d1": "revoked", "d2": "revoked", "d3": ""} {
		if got := s.decision(id).Status; got != want {
			t.Errorf("%s is %q, want %q", id, got, want)
		}
	}
	s.post(event.TypeRevoked, "r2", "alice", nil, event.Recommendation{Decision: "d3", Action: "lobby_tip", Kind: "marketing", Revoked: []string{"d3"},
		Reasons: []event.Reason{{Code: "overturned", Text: "Not for her."}}, DecidedAt: time.Now().UTC()})
	if got := s.decision("d3").Status; got != "overturned" {
		t.Errorf("d3 is %q after a person overturned it", got)
	}
}

func TestTheLivePictureSaysWhichSwitchesAreOn(t *testing.T) {
	t.Parallel()
	s := start(t, map[string]string{"REDIS_URL": redistest.Start(t)})
	if status := s.change("/api/switches", map[string]any{"what": "action", "name": "free_spins", "on": true, "note": "a complaint"}, nil); status != http.StatusOK {
		t.Fatalf("turn: %d", status)
	}
	var live struct {
		Frame struct {
			Switches []struct{ What, Name, Who, Note string }
		}
	}
	for deadline := time.Now().Add(10 * time.Second); len(live.Frame.Switches) == 0 && time.Now().Before(deadline); {
		s.get("/api/live", &live)
	}
	on := live.Frame.Switches
	if len(on) != 1 || on[0].Name != "free_spins" || on[0].Note != "a complaint" || on[0].Who == "" {
		t.Errorf("switches %+v", on)
	}
}

func TestLongAnswersAreCompressed(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	for _, path := range []string{"/api/rules", "/", "/api/me"} {
		plain := fetch(t, s.url+path, "")
		zipped := fetch(t, s.url+path, "gzip")
		long := len(plain.body) >= 1<<10
		if long != (zipped.encoding == "gzip") || plain.encoding != "" || !slices.Equal(plain.body, zipped.body) {
			t.Errorf("%s: %d bytes, encodings %q and %q", path, len(plain.body), plain.encoding, zipped.encoding)
		}
	}
}

type fetched struct {
	body     []byte
	encoding string
}

func fetch(t *testing.T, url, encoding string) (f fetched) {
	t.Helper()
	req, _ := http.NewRequest(http.MethodGet, url, nil)
	req.Header.Set("Accept-Encoding", encoding)
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	f.encoding = res.Header.Get("Content-Encoding")
	var r io.Reader = res.Body
	if f.encoding == "gzip" {
		if r, err = gzip.NewReader(res.Body); err != nil {
			t.Fatal(err)
		}
	}
	if f.body, err = io.ReadAll(r); err != nil {
		t.Fatal(err)
	}
	return f
}
