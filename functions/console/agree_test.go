package console_test

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"pitboss/internal/event"
	"pitboss/internal/feature"
	"pitboss/internal/journal"
	"pitboss/internal/policy"
	"pitboss/test/redistest"
	"pitboss/test/shipped"
)

// recorded is a decision as it was written to the journal.
type recorded struct {
	id, player, outcome string
	record              *policy.Record
}

func (d *recorded) verdict() string {
	if d.record.Decision.Issued {
		return "issued"
	}
	return "suppressed"
}

// day makes a day's decisions with the real policy and records them, with the outcomes of
// some. Half of them are written out to segments.
func day(t *testing.T, url, segments string) []*recorded {
	t.Helper()
	ctx := context.Background()
	p, set := shipped.Policy(t)
	rdb := redistest.Client(t, url)
	j := journal.New(rdb, 100)
	doc, err := p.Document()
	if err != nil {
		t.Fatal(err)
	}
	// The rules of that time differ from those of today's files.
	doc = []byte(strings.ReplaceAll(string(doc), "Marketing", "Advertising"))
	if err := j.KeepDocument(ctx, p.Hash(), doc); err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	began := time.Now().Add(-20 * time.Hour).UTC().Truncate(time.Millisecond)
	var out []*recorded
	record := func(player string, d *journal.Draft) {
		d.Contacts = journal.Bytes("x")
		if _, err := j.Record(ctx, player, journal.Anew, func(journal.View) (*journal.Draft, error) { return d, nil }); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 240 {
		player := fmt.Sprintf("player-%d", r.IntN(30))
		d := &recorded{id: journal.DecisionID(player, fmt.Sprint("d", n)), player: player}
		d.record = decideOne(p, set, d.id, player, began.Add(time.Duration(n)*5*time.Minute), r)
		open, personal := d.record.Split()
		record(player, &journal.Draft{Kind: journal.KindDecision, Time: d.record.Input.Now, Open: open, Personal: personal, Decision: d.id})
		out = append(out, d)
		if d.record.Decision.Issued && r.IntN(2) == 0 {
			d.outcome = []string{"delivered", "accepted", "dismissed", "expired", "revoked", "overturned"}[r.IntN(6)]
			record(player, aboutOf(t, d))
		}
		if n == 120 {
			if _, _, err := j.WriteOut(ctx, journal.Segments{Dir: segments}, time.Nanosecond, time.Now()); err != nil {
				t.Fatal(err)
			}
		}
	}
	return out
}

func decideOne(p *policy.Policy, set *feature.Set, id, player string, now time.Time, r *rand.Rand) *policy.Record {
	places := []string{"GB", "SE", "MT", "DE", "XX"}
	in := policy.Input{Decision: id, Player: player, Now: now, AsOf: now, StateVersion: "0011223344556677", FeatureSet: set.Hash(), Contacts: &policy.Contacts{},
		Trigger: event.Trigger{Type: event.TypePaymentFailed, Source: "/test", ID: id, Time: now.Add(-time.Second)},
		Facts: event.Facts{Jurisdiction: places[r.IntN(len(places))], BirthDate: "1980-01-01", Brand: []string{"one", "two"}[r.IntN(2)], Currency: "EUR", TimeZone: "Europe/London",
			Consents: map[string]bool{"all/all": r.IntN(2) == 0, "casino/in_app": true}, LastProduct: "casino", LastGame: "roulette"},
		Features: make([]float64, len(set.Names())), Scores: map[string]float64{"leave": r.Float64(), "harm": r.Float64()}}
	for i := range in.Features {
		in.Features[i] = float64(r.IntN(6))
	}
	return &policy.Record{Input: in, Decision: *p.Decide(&in)}
}

func aboutOf(t *testing.T, d *recorded) *journal.Draft {
	at := d.record.Input.Now.Add(time.Minute)
	draft := &journal.Draft{Kind: journal.KindOutcome, Time: at}
	var v any = &policy.Outcome{Decision: d.id, Status: d.outcome, At: at}
	switch d.outcome {
	case "overturned":
		draft.Kind, v = journal.KindReview, &policy.Review{Decision: d.id, Verdict: "overturned", By: "cora", Note: "no", At: at}
	case "revoked":
		draft.Kind, v = journal.KindRevoke, map[string]any{"decision": d.id[:6] + "revocation", "revoked": []string{d.id}, "reasons": []any{}}
	}
	var err error
	if draft.Open, err = json.Marshal(v); err != nil {
		t.Fatal(err)
	}
	return draft
}

type listed struct {
	Decision, Player, Verdict, Status, Action, Jurisdiction, Brand, Words string
	Kind                                                                  string
	Blocked                                                               []event.Blocked
	Reasons                                                               []event.Reason
	DecidedAt                                                             time.Time `json:"decided_at"`
}

// agrees compares what a page says about a decision with what was decided.
func (l *listed) agrees(t *testing.T, where string, d *recorded) {
	t.Helper()
	want := d.record.Recommendation()
	if l.Decision != d.id || l.Player != d.player || l.Verdict != d.verdict() || l.Status != d.outcome || l.Action != want.Action || l.Kind != want.Kind ||
		l.Jurisdiction != d.record.Input.Facts.Jurisdiction || l.Brand != d.record.Input.Facts.Brand || !l.DecidedAt.Equal(want.DecidedAt) {
		t.Errorf("%s of %s: %+v, want %s %s %s %+v", where, d.id, l, d.verdict(), d.outcome, d.player, want)
	}
	if !slices.Equal(l.Reasons, want.Reasons) || !slices.Equal(l.Blocked, want.Blocked) {
		t.Errorf("%s of %s: reasons %v and %v, want %v and %v", where, d.id, l.Reasons, l.Blocked, want.Reasons, want.Blocked)
	}
	if action := strings.ReplaceAll(want.Action, "_", " "); d.verdict() == "issued" && !strings.Contains(l.Words, action) || !strings.Contains(l.Words, d.player) {
		t.Errorf("%s of %s says %q", where, d.id, l.Words)
	}
}

// Every page shows every decision as the journal has it, in Redis or in a segment: the
// search, the decision's page with the rules' texts of its time, the player's page, and
// the CSV.
func TestEveryPageAgreesWithTheJournal(t *testing.T) {
	t.Parallel()
	url, segments := redistest.Start(t), t.TempDir()
	all := day(t, url, segments)
	s := start(t, map[string]string{"REDIS_URL": url, "PITBOSS_SEGMENTS": segments})
	byID := map[string]*recorded{}
	for _, d := range all {
		byID[d.id] = d
	}
	s.indexed()
	s.searchAgrees(byID)
	s.csvAgrees(byID)
	seen := 0
	for n := range 30 {
		var page struct{ Decisions []*listed }
		s.get(fmt.Sprintf("/api/players/player-%d/decisions", n), &page)
		for _, l := range page.Decisions {
			l.agrees(t, "the player's page", byID[l.Decision])
			seen++
		}
	}
	if seen != len(all) {
		t.Errorf("the players' pages have %d decisions of %d", seen, len(all))
	}
	for _, d := range all {
		s.pageAgrees(d)
	}
}

// indexed waits until the search covers the whole journal. The console builds missing
// indexes of segments after it has begun to answer.
func (s *served) indexed() {
	s.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		var page struct{ Behind bool }
		if s.get("/api/decisions?max=1", &page); !page.Behind {
			return
		}
		if time.Now().After(end) {
			s.t.Fatal("the search is behind after a minute")
		}
	}
}

func (s *served) searchAgrees(byID map[string]*recorded) {
	s.t.Helper()
	n, next := 0, ""
	for {
		var page struct {
			Decisions     []*listed
			Matched, Kept int
			Next          string
			Whole, Behind bool
		}
		s.get("/api/decisions?max=50&before="+next, &page)
		if page.Matched != len(byID) || page.Kept != len(byID) || !page.Whole {
			s.t.Fatalf("matched %d of %d, whole %v, want %d", page.Matched, page.Kept, page.Whole, len(byID))
		}
		for _, l := range page.Decisions {
			l.agrees(s.t, "the search", byID[l.Decision])
			n++
		}
		if next = page.Next; next == "" {
			break
		}
	}
	if n != len(byID) {
		s.t.Errorf("the search shows %d of %d", n, len(byID))
	}
	count := func(query string, fits func(*recorded) bool) {
		want := 0
		for _, d := range byID {
			if fits(d) {
				want++
			}
		}
		var page struct{ Matched int }
		if s.get("/api/decisions?"+query, &page); page.Matched != want {
			s.t.Errorf("%s: %d, want %d", query, page.Matched, want)
		}
	}
	count("verdict=issued&jurisdiction=GB", func(d *recorded) bool { return d.verdict() == "issued" && d.record.Input.Facts.Jurisdiction == "GB" })
	count("outcome=accepted", func(d *recorded) bool { return d.outcome == "accepted" })
	count("brand=two&outcome=none", func(d *recorded) bool { return d.outcome == "" && d.record.Input.Facts.Brand == "two" })
	count("q=player-7", func(d *recorded) bool { return d.player == "player-7" })
}

func (s *served) csvAgrees(byID map[string]*recorded) {
	s.t.Helper()
	res, err := http.Get(s.url + "/api/decisions.csv")
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	lines, err := csv.NewReader(res.Body).ReadAll()
	if err != nil || len(lines) != len(byID)+1 {
		s.t.Fatalf("CSV: %d lines, %v", len(lines), err)
	}
	column := func(name string) int { return slices.Index(lines[0], name) }
	for _, l := range lines[1:] {
		d := byID[l[column("decision")]]
		if d == nil || l[column("verdict")] != d.verdict() || l[column("outcome")] != d.outcome || l[column("player")] != d.player ||
			l[column("action")] != d.record.Decision.Action || l[column("jurisdiction")] != d.record.Input.Facts.Jurisdiction {
			s.t.Errorf("CSV: %v", l)
		}
	}
}

func (s *served) pageAgrees(d *recorded) {
	s.t.Helper()
	var page struct {
		Decision listed
		Inputs   *struct{ Features map[string]float64 }
		Journal  struct {
			Note  string
			Rules []struct {
				Rule, Result, Text, Source string
				Version                    int
			}
		}
	}
	if status := s.get("/api/decisions/"+d.id, &page); status != http.StatusOK {
		s.t.Fatalf("%s: %d", d.id, status)
	}
	page.Decision.agrees(s.t, "its page", d)
	if page.Inputs == nil || len(page.Inputs.Features) != len(d.record.Input.Features) {
		s.t.Errorf("%s: inputs %+v", d.id, page.Inputs)
	}
	if len(page.Journal.Rules) != len(d.record.Decision.Rules) || page.Journal.Note != "" {
		s.t.Fatalf("%s: %d rules, want %d; %s", d.id, len(page.Journal.Rules), len(d.record.Decision.Rules), page.Journal.Note)
	}
	for i, want := range d.record.Decision.Rules {
		r := page.Journal.Rules[i]
		if r.Rule != want.Rule || r.Version != want.Version || r.Result != want.Result || r.Text == "" || r.Source == "" {
			s.t.Errorf("%s: rule %+v, want %+v", d.id, r, want)
		}
		if strings.Contains(r.Text, "Marketing") {
			s.t.Errorf("%s: %s has the text of today: %q", d.id, r.Rule, r.Text)
		}
	}
}
