package console_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pitboss/internal/event"
	"pitboss/internal/journal"
	"pitboss/internal/policy"
	"pitboss/test/redistest"
)

// The page's report is made from the journal: decisions joined with their outcomes, by
// action and arm.
func TestReportComesFromTheJournal(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t)
	id := journal.DecisionID("alice", "d1")
	outcome, err := json.Marshal(policy.Outcome{Decision: id, Status: "accepted", At: time.Now().UTC()})
	if err != nil {
		t.Fatal(err)
	}
	inJournal(t, url, issued(id), &journal.Draft{Kind: journal.KindOutcome, Open: outcome})
	s := start(t, map[string]string{"REDIS_URL": url})
	var out struct {
		Made   time.Time     `json:"made"`
		Report policy.Report `json:"report"`
	}
	if status := s.get("/api/report", &out); status != http.StatusOK || out.Report.Issued != 1 || len(out.Report.Lines) != 1 {
		t.Fatalf("%d %+v", status, out)
	}
	if l := out.Report.Lines[0]; l.Action != "payment_help" || l.Arm != "explore" || l.Accepted != 1 || l.Delivered != 1 {
		t.Fatalf("%+v", l)
	}
	if status := start(t, nil).get("/api/report", nil); status == http.StatusOK {
		t.Error("a console without Redis has a report")
	}
}

// issued makes the journal entry of a recommendation to alice that waits for review.
func issued(id string) *journal.Draft {
	in := policy.Record{Input: policy.Input{Decision: id, Player: "alice", Now: time.Now().UTC().Truncate(time.Millisecond),
		Facts: event.Facts{Jurisdiction: "GB", Brand: "one"}},
		Decision: policy.Decision{Action: "payment_help", Kind: policy.Service, Issued: true, Arm: "explore", Propensity: 0.5, Review: []string{"GB-AUTO"}}}
	open, personal := in.Split()
	return &journal.Draft{Kind: journal.KindDecision, Open: open, Personal: personal, Decision: id, Deadline: time.Now().Add(time.Hour)}
}

// inJournal records entries about alice, as decide and feedback do.
func inJournal(t *testing.T, url string, drafts ...*journal.Draft) {
	t.Helper()
	rdb := redistest.Client(t, url)
	j := journal.New(rdb, 10)
	for _, d := range drafts {
		d.Time, d.Contacts = time.Now(), journal.Bytes("x")
		if _, err := j.Record(t.Context(), "alice", journal.Anew, func(journal.View) (*journal.Draft, error) { return d, nil }); err != nil {
			t.Fatal(err)
		}
	}
}

// A decision from before the console started is read from the journal, and can be reviewed
// like any other.
func TestReviewOfADecisionFromBeforeTheStart(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t)
	id := journal.DecisionID("alice", "d1")
	inJournal(t, url, issued(id))
	var mu sync.Mutex
	var sent []string
	broker := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		sent = append(sent, r.Header.Get("Ce-Type")+" "+r.Header.Get("Ce-Subject"))
	}))
	defer broker.Close()
	s := start(t, map[string]string{"REDIS_URL": url, "K_SINK": broker.URL})
	var queue struct {
		Open []struct{ Decision, Player, Action, Verdict string }
	}
	s.get("/api/reviews", &queue)
	if len(queue.Open) != 1 || queue.Open[0].Decision != id || queue.Open[0].Player != "alice" || queue.Open[0].Action != "payment_help" {
		t.Fatalf("the queue is %+v", queue)
	}
	if got := s.get("/api/decisions/"+id, nil); got != http.StatusOK {
		t.Errorf("open it: %d", got)
	}
	if got := s.change("/api/reviews/"+id, map[string]string{"verdict": "overturned", "note": "not now"}, nil); got != http.StatusOK {
		t.Fatalf("overturn: %d", got)
	}
	if got := s.change("/api/reviews/"+id, map[string]string{"verdict": "approved", "note": "again"}, nil); got != http.StatusConflict {
		t.Errorf("second word: %d, want 409", got)
	}
	mu.Lock()
	defer mu.Unlock()
	if want := []string{event.TypeRevoked + " alice", event.TypeReviewDecided + " alice"}; !slices.Equal(sent, want) {
		t.Errorf("sent %v, want %v", sent, want)
	}
}

// The badge counts the decisions that wait at the person's places, like the page: those that
// the console has seen, and those that only the journal's queue has.
func TestTheBadgeCountsOnesOwnCases(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t)
	inJournal(t, url, issued(journal.DecisionID("alice", "d1"))) // in GB, before the console starts
	s := start(t, map[string]string{"REDIS_URL": url, "CONSOLE_TOKENS_FILE": placedTokens(t)})
	for i, where := range []string{"GB", "SE", "SE"} {
		rec := recommendation(fmt.Sprint("s0001-d", i), "call")
		rec.Review = true
		s.post(event.TypeRecommendation, rec.Decision, "ann", map[string]string{"jurisdiction": where, "brand": "one"}, rec)
	}
	said := event.ReviewDecided{Decision: "s0001-d2", Verdict: "approved", By: "cora", Note: "looked at"}
	s.post(event.TypeReviewDecided, "v1", "ann", nil, said)
	want := map[string]int{vera: 3, gabe: 2, stig: 1}
	for who, n := range want {
		var live struct{ Frame struct{ Review int } }
		for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			if s.as(who, "GET", "/api/live", nil, &live); live.Frame.Review == n {
				break
			}
		}
		var page struct{ Waiting int }
		s.as(who, "GET", "/api/reviews", nil, &page)
		if live.Frame.Review != n || page.Waiting != n {
			t.Errorf("%s: the badge says %d, the page %d, want %d", who, live.Frame.Review, page.Waiting, n)
		}
	}
}

// "Why was something sent at 14:02?" A player's decisions up to a time come from the journal,
// in Redis and in segments, even those from before the console started.
func TestAPlayersDecisionsComeFromTheJournal(t *testing.T) {
	t.Parallel()
	url, before := redistest.Start(t), time.Now().Add(-time.Millisecond) // the journal's times are whole milliseconds
	var drafts []*journal.Draft
	var ids []string
	for n := range 120 {
		ids = append(ids, journal.DecisionID("alice", fmt.Sprint("d", n)))
		drafts = append(drafts, issued(ids[n]))
	}
	inJournal(t, url, drafts...)
	rdb := redistest.Client(t, url)
	dir := t.TempDir()
	if _, n, err := journal.New(rdb, 10).WriteOut(t.Context(), journal.Segments{Dir: dir}, time.Nanosecond, time.Now().Add(time.Hour)); err != nil || n != 120 {
		t.Fatalf("%d entries written out, %v", n, err)
	}
	type answer struct {
		Decisions []struct {
			Decision, Player, Verdict string
		}
		Whole bool
		Next  string
	}
	var blind, out answer
	without := start(t, map[string]string{"REDIS_URL": url})
	without.indexed()
	without.get("/api/players/alice/decisions", &blind)
	if blind.Whole || len(blind.Decisions) > 0 {
		t.Errorf("without the segments: %d decisions, whole %v", len(blind.Decisions), blind.Whole)
	}
	s := start(t, map[string]string{"REDIS_URL": url, "PITBOSS_SEGMENTS": dir})
	s.indexed()
	got := []string{}
	at := "/api/players/alice/decisions"
	for range 5 {
		out = answer{}
		if status := s.get(at, &out); status != http.StatusOK || !out.Whole || len(out.Decisions) == 0 || out.Decisions[0].Player != "alice" {
			t.Fatalf("%s: %d %+v", at, status, out)
		}
		for _, d := range out.Decisions {
			got = append(got, d.Decision)
		}
		if out.Next == "" {
			break
		}
		at = fmt.Sprint("/api/players/alice/decisions?before=", out.Next)
	}
	if slices.Reverse(got); !slices.Equal(got, ids) {
		t.Errorf("%d decisions of %d, page by page, or in another order: %v", len(got), len(ids), got)
	}
	if status := s.get("/api/decisions/"+ids[3], nil); status != http.StatusOK {
		t.Errorf("open one that was written out: %d", status)
	}
	out = answer{}
	s.get("/api/players/alice/decisions?until="+before.UTC().Format(time.RFC3339Nano), &out)
	if len(out.Decisions) > 0 || !out.Whole {
		t.Errorf("until before the first: %+v", out)
	}
	for _, wrong := range []string{"until=noon", "before=-1"} {
		if status := s.get("/api/players/alice/decisions?"+wrong, nil); status != http.StatusBadRequest {
			t.Errorf("%s: %d, want 400", wrong, status)
		}
	}
	if status := s.get("/api/players/nobody/decisions", &out); status != http.StatusOK || !out.Whole {
		t.Errorf("nobody: %d %+v", status, out)
	}
	if err := startError(t, map[string]string{"MODELS_DIR": "../../models", "PITBOSS_SEGMENTS": dir + "/none"}); err == nil || !strings.Contains(err.Error(), "PITBOSS_SEGMENTS") {
		t.Errorf("a folder that is not mounted: %v", err)
	}
}
