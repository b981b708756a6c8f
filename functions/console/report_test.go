package console_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"pitboss/internal/decide"
	"pitboss/internal/journal"
	"pitboss/internal/redistest"
)

// The report that the page shows is made from the journal: a decision joined
// with its outcome, by action and arm.
func TestReportComesFromTheJournal(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t)
	opt, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	rdb := redis.NewClient(opt)
	defer rdb.Close()
	j := journal.New(rdb, 10)
	id := journal.DecisionID("alice", "d1")
	in := decide.Record{Input: decide.Input{Decision: id, Player: "alice", Now: time.Now().UTC().Truncate(time.Millisecond)},
		Decision: decide.Decision{Action: "payment_help", Kind: decide.Service, Issued: true, Arm: "explore", Propensity: 0.5}}
	open, personal := in.Split()
	outcome, err := json.Marshal(decide.Outcome{Decision: id, Status: "accepted", At: time.Now().UTC()})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []*journal.Draft{{Kind: journal.KindDecision, Open: open, Personal: personal, Decision: id}, {Kind: journal.KindOutcome, Open: outcome}} {
		d.Time, d.Contacts = time.Now(), []byte("x")
		if _, err := j.Record(t.Context(), "alice", journal.Anew, func(journal.View) (*journal.Draft, error) { return d, nil }); err != nil {
			t.Fatal(err)
		}
	}
	s := start(t, map[string]string{"REDIS_URL": url})
	var out struct {
		Made   time.Time     `json:"made"`
		Report decide.Report `json:"report"`
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
