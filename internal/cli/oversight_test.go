package cli

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"

	"pitboss/functions/decide"
	"pitboss/functions/feedback"
	"pitboss/functions/profile"
	"pitboss/functions/score"
	"pitboss/internal/event"
	"pitboss/internal/journal"
	"pitboss/internal/player"
	"pitboss/internal/policy"
	"pitboss/test/redistest"
)

// station is a function of a town.
type station interface {
	Start(context.Context, map[string]string) error
	Stop(context.Context) error
	Handle(context.Context, ce.Event) (*ce.Event, error)
}

// town is the path of an event without a Broker, on a real Redis and with the shipped models.
// It makes the data that the compliance commands read.
type town struct {
	t      *testing.T
	redis  string
	path   []station // profile, score, decide
	back   station   // feedback
	broker *httptest.Server
	mu     sync.Mutex
	posted []ce.Event // to the Broker
	events int
}

func newTown(t *testing.T) *town {
	t.Helper()
	w := &town{t: t, redis: redistest.Start(t), path: []station{profile.New(), score.New(), decide.New()}, back: feedback.New()}
	for _, f := range append(w.path, w.back) {
		if err := f.Start(t.Context(), map[string]string{"REDIS_URL": w.redis, "MODELS_DIR": "../../models", "SCORE_WHEN": "always",
			"ONNXRUNTIME_LIB": os.Getenv("ONNXRUNTIME_LIB")}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Stop(context.Background()) })
	}
	w.broker = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		e, err := cehttp.NewEventFromHTTPRequest(r)
		if err != nil {
			http.Error(rw, err.Error(), http.StatusBadRequest)
			return
		}
		w.mu.Lock()
		w.posted = append(w.posted, *e)
		w.mu.Unlock()
		rw.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(w.broker.Close)
	return w
}

// happen sends an event through all functions and returns decide's answer.
func (w *town) happen(player, typ string, data any) *ce.Event {
	w.t.Helper()
	w.events++
	e, err := event.New("test", typ, player, fmt.Sprint("e", w.events), time.Now().UTC(), data)
	for i := 0; i < len(w.path) && err == nil && e != nil; i++ {
		e, err = w.path[i].Handle(w.t.Context(), *e)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

// told returns the latest event that was POSTed to the Broker.
func (w *town) told() *ce.Event {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.posted) == 0 {
		w.t.Fatal("nothing was POSTed")
	}
	return &w.posted[len(w.posted)-1]
}

// toldOf returns the events of a type that were POSTed to the Broker.
func (w *town) toldOf(typ string) (out []ce.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.posted {
		if e.Type() == typ {
			out = append(out, e)
		}
	}
	return out
}

// takenBack fails unless a revocation was sent with attributes that pass the same Trigger
// filters as the decision's recommendation.
func (w *town) takenBack(decision string) {
	w.t.Helper()
	out := w.toldOf(event.TypeRevoked)
	if len(out) != 1 {
		w.t.Fatalf("%d revocations, want 1", len(out))
	}
	e := out[0]
	data, err := event.Decode[event.Recommendation](&e)
	if err != nil || !slices.Equal(data.Revoked, []string{decision}) || data.Reasons[0] != (event.Reason{Code: "overturned", Text: "a mix-up"}) {
		w.t.Errorf("%+v %v", data, err)
	}
	if x := e.Extensions(); e.Subject() != "alice" || x[event.ExtKind] != "protection" || x[event.ExtAction] != "safer_gambling_call" || x[event.ExtChannel] == nil {
		w.t.Errorf("%v", e)
	}
}

// run runs the command with the town's Redis, Broker and models.
func (w *town) run(args ...string) (string, error) {
	w.t.Setenv("REDIS_URL", w.redis)
	w.t.Setenv("PITBOSS_BROKER", w.broker.URL)
	w.t.Setenv("MODELS_DIR", "../../models")
	root := rootCmd("test")
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&out)
	root.SetArgs(args)
	err := root.ExecuteContext(w.t.Context())
	return out.String(), err
}

// says fails unless the command succeeds and its output contains all of the texts.
func (w *town) says(args []string, all ...string) string {
	w.t.Helper()
	out, err := w.run(args...)
	if err != nil {
		w.t.Fatalf("pitboss %v: %v\n%s", args, err, out)
	}
	contains(w.t, args, out, all)
	return out
}

// refuses fails unless the command fails and its error contains all of the texts.
func (w *town) refuses(args []string, all ...string) {
	w.t.Helper()
	out, err := w.run(args...)
	if err == nil {
		w.t.Fatalf("pitboss %v succeeds: %s", args, out)
	}
	contains(w.t, args, err.Error(), all)
}

func contains(t *testing.T, args []string, out string, all []string) {
	t.Helper()
	for _, s := range all {
		if !strings.Contains(out, s) {
			t.Errorf("pitboss %v does not say %q:\n%s", args, s, out)
		}
	}
}

// harmed makes a decision about a player in GB with a strong indicator, which needs a review.
func (w *town) harmed(player string) (decision string) {
	w.happen(player, event.TypeAccountRegistered, event.AccountRegistered{Jurisdiction: "GB", BirthDate: "1986-01-01", Brand: "b", Tier: "gold", Currency: "GBP", TimeZone: "Europe/London"})
	out := w.happen(player, event.TypeIndicatorRaised, event.IndicatorRaised{Group: "spend", Strength: "strong"})
	if out.Type() != event.TypeRecommendation {
		w.t.Fatalf("%s: %s", out.Type(), out.Data())
	}
	return out.ID()
}

// TestComplianceCommands goes through a compliance officer's day: explain, reproduce, review,
// stop, verify, write out, erase. Each mistake gets an error that says what to do.
func TestComplianceCommands(t *testing.T) {
	w := newTown(t)
	d := w.harmed("alice")

	w.says([]string{"explain", d}, "safer_gambling_call (protection) was issued", "alice, GB", "GB-AUTO", "UKGC LCCP", "sha256", "propensity 1", "not asked, since")
	w.says([]string{"explain", "--player", "alice"}, d, "issued", "safer_gambling_call")
	w.says([]string{"rules", "backtest", "../../models"}, "decisions tried", "0 would differ")
	w.says([]string{"rules", "backtest", w.without("safer_gambling_call")}, "safer_gambling_call", policy.WouldStop, "GB", d)
	w.refuses([]string{"rules", "backtest", "nowhere"}, "nowhere")
	w.says([]string{"explain", "--player", "alice", "--until", "2020-01-01T00:00:00Z"}, "no decision about this player")
	w.refuses([]string{"explain", "--player", "alice", "--until", "noon"}, "--until")
	w.refuses([]string{"explain"}, "--player")
	w.says([]string{"replay-decision", d}, "The decision is the same, bit for bit: safer_gambling_call", "leave", "again, bit for bit")
	for _, cmd := range []string{"explain", "replay-decision"} {
		w.refuses([]string{cmd, "nonsense"}, `"nonsense" is not a decision's id (s0123-…)`)
		w.refuses([]string{cmd, d + "0"}, "it is not in Redis", "--segments")
		w.refuses([]string{cmd, d + "0", "--segments", "nowhere"}, "nowhere is not a folder")
	}

	w.says([]string{"review", "list"}, d, "safer_gambling_call (protection) by GB-AUTO", "GB")
	w.refuses([]string{"review", "overturn", d}, "--note must say why")
	w.refuses([]string{"review", "approve", d, "--broker", "http://127.0.0.1:1"}, "nothing was recorded", "--broker")
	w.says([]string{"review", "overturn", d, "--by", "carol", "--note", "a mix-up"}, d+": overturned", "recommendation.revoked")
	if said := w.toldOf(event.TypeReviewDecided); len(said) != 1 || said[0].Subject() != "alice" {
		t.Fatalf("%v", said)
	} else if _, err := w.back.Handle(t.Context(), said[0]); err != nil {
		t.Fatal(err)
	}
	w.takenBack(d)
	w.says([]string{"review", "list"}, "nothing waits")
	w.says([]string{"explain", d}, `"verdict":"overturned"`, "carol", "a mix-up")
	w.says([]string{"review", "approve", d}, "it was reviewed before")

	w.killSwitches()
	w.late()

	w.says([]string{"journal", "verify", "--heads"}, "every chain is whole", `"hash"`)
	dir := filepath.Join(t.TempDir(), "segments")
	w.refuses([]string{"journal", "write"}, "--segments")
	w.says([]string{"journal", "write", "--segments", dir, "--keep", "1ns"}, "entries to ")
	w.says([]string{"journal", "write", "--segments", dir}, "nothing new")
	w.refuses([]string{"journal", "verify"}, "findings")
	w.refuses([]string{"journal", "verify", "--segments", dir + "x"}, "is the storage mounted?")
	w.says([]string{"journal", "verify", "--segments", dir}, "1 segments: every chain is whole")
	w.refuses([]string{"explain", d}, "--segments")
	w.says([]string{"explain", "--player", "alice"}, "--segments says where")
	w.says([]string{"explain", "--player", "alice", "--segments", dir}, d)
	w.says([]string{"explain", d, "--segments", dir}, "alice, GB", "overturned")
	w.says([]string{"replay-decision", d, "--segments", dir}, "bit for bit")
	w.says([]string{"report", "--segments", dir}, "safer_gambling_call")

	if out := w.says([]string{"privacy", "export", "alice"}, `"birth_date": "1986-01-01"`, `"status": "open"`, "--segments` adds them"); strings.Contains(out, `"kind": "decision"`) {
		t.Errorf("without segments: %s", out)
	}
	w.refuses([]string{"privacy", "export", "alice", "--segments", dir + "x"}, "is the storage mounted?")
	whole := w.says([]string{"privacy", "export", "alice", "--segments", dir}, `"kind": "decision"`, `"kind": "review"`, `"decision": "`+d+`"`, "a mix-up")
	if strings.Contains(whole, `"missing"`) {
		t.Errorf("with segments: %s", whole)
	}
	w.refuses([]string{"privacy", "erase", "alice"}, `"request" not set`)
	w.says([]string{"privacy", "erase", "alice", "--request", "R1"}, "alice is erased")
	w.says([]string{"explain", d, "--segments", dir}, "The player was erased")
	w.refuses([]string{"review", "approve", d, "--segments", dir}, "was erased")
	if out := w.says([]string{"privacy", "export", "alice"}, `"erased"`); strings.Contains(out, "1986") {
		t.Errorf("after the erasure: %s", out)
	}
	w.says([]string{"journal", "verify", "--segments", dir}, "every chain is whole")
	w.refuses([]string{"privacy", "release", "alice"}, "no legal hold on alice")
	w.refuses([]string{"privacy", "fetch", "R9"}, "never made, or its time is over")
}

// late checks that producers are listed, the latest day first.
func (w *town) late() {
	w.t.Helper()
	w.says([]string{"late"}, "none: every event counted")
	rdb := redistest.Client(w.t, w.redis)
	now := time.Now()
	log := player.NewKeptOutLog(rdb, func() time.Time { return now })
	for range 3 {
		log.Note("late", "/slow/producer")
	}
	if err := log.Flush(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	w.says([]string{"late"}, now.UTC().Format(time.DateOnly)+"  late    /slow/producer  3")
}

// without copies the models folder, with an action that is never eligible.
func (w *town) without(action string) string {
	dir := w.t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "rules"), os.DirFS("../../models/rules")); err != nil {
		w.t.Fatal(err)
	}
	for _, name := range []string{"features.yaml", "markers.yaml", "actions.yaml"} {
		b, err := os.ReadFile("../../models/" + name)
		if err != nil {
			w.t.Fatal(err)
		}
		text := strings.Replace(string(b), "eligible: player.strong_indicator && !player.excluded", "eligible: \"false\" # "+action, 1)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
	return dir
}

func (w *town) killSwitches() {
	w.t.Helper()
	on := func(what, name string) []string {
		return []string{"killswitch", "on", what, name, "--by", "carol", "--reason", "a test"}
	}
	w.refuses(on("colour", "red"), "jurisdiction, action, model, rule")
	w.refuses(on("action", "free_spinz"), `no action "free_spinz"`, "it would stop nothing", "free_spins", "--unknown")
	w.refuses(on("rule", "GB-DMX"), "GB-AUTO")
	w.refuses(on("model", "leaf"), "harm, harm-casino, learned, leave")
	w.refuses(on("jurisdiction", "Great Britain"), "GB")
	w.refuses(on("jurisdiction", "XX"), "there is no jurisdiction")
	w.refuses([]string{"killswitch", "on", "action", "free_spins", "--reason", ""}, "--reason")
	w.refuses([]string{"killswitch", "off", "action", "free_spins", "--reason", "x"}, "is not on")
	for _, s := range [][2]string{{"action", "free_spins"}, {"rule", "GB-AUTO"}, {"model", "leave"}, {"jurisdiction", "FR"}} {
		w.says(on(s[0], s[1]), s[0]+"/"+s[1]+" is on")
		e := w.told()
		data, err := event.Decode[event.SwitchTurned](e)
		if err != nil || e.Type() != event.TypeSwitchTurned || *data != (event.SwitchTurned{What: s[0], Name: s[1], On: true, By: "carol", Reason: "a test"}) {
			w.t.Errorf("%s: %+v %v", e.Type(), data, err)
		}
		w.says([]string{"killswitch", "list"}, s[0]+"/"+s[1], "by carol: a test")
		off := []string{"killswitch", "off", s[0], s[1], "--reason", "over", "--by", "carol", "--broker", "http://127.0.0.1:1"} // it takes effect without the Broker
		w.says(off, "stays on until another person approves")
		id := strings.Fields(w.says([]string{"proposals", "list"}, s[0]+"/"+s[1], "by carol"))[0]
		w.refuses([]string{"proposals", "approve", id, "--by", "Carol"}, "another person")
		w.says([]string{"proposals", "approve", id, "--by", "dave", "--broker", "http://127.0.0.1:1"}, "is off")
		w.refuses([]string{"proposals", "approve", id, "--by", "dave"}, "settled, expired")
	}
	w.says([]string{"killswitch", "list"}, "none is on")
	w.says([]string{"proposals", "list"}, "none waits")
	w.leftToTheConsole()
}

// leftToTheConsole checks that changes which only a console can make are approved here and made there.
func (w *town) leftToTheConsole() {
	w.t.Helper()
	rdb := redistest.Client(w.t, w.redis)
	j := journal.New(rdb, 1)
	for _, fails := range []bool{false, true} {
		now := time.Now().UTC()
		p, err := j.Propose(w.t.Context(), journal.Proposal{What: journal.ProposePolicy, Subject: "rules/GB.yaml", By: "carol", At: now, Until: now.Add(time.Hour)})
		if err != nil {
			w.t.Fatal(err)
		}
		made := make(chan error, 1)
		go func() { // a console
			for {
				got, err := j.Unfinished(w.t.Context(), time.Now())
				switch {
				case err == nil && len(got) == 0:
					continue
				case err == nil && fails:
					err = j.PutBack(w.t.Context(), got[0], "the policy has changed", time.Now())
				case err == nil:
					err = j.Finished(w.t.Context(), got[0])
				}
				made <- err
				return
			}
		}()
		approve := []string{"proposals", "approve", p.ID, "--by", "dave"}
		if fails {
			w.refuses(approve, "could not make the change", "the policy has changed")
		} else {
			w.says(approve, "rules/GB.yaml: approved", "the console has made the change")
		}
		if err := <-made; err != nil {
			w.t.Error(err)
		}
	}
}

// TestJournalVerifyFindsTampering: the command fails and says where.
func TestJournalVerifyFindsTampering(t *testing.T) {
	w := newTown(t)
	d := w.harmed("alice")
	rdb := redistest.Client(t, w.redis)
	key := "{" + d[:5] + "}:j"
	all, err := rdb.XRange(t.Context(), key, "-", "+").Result()
	if err != nil || len(all) == 0 {
		t.Fatal(all, err)
	}
	first := all[0]
	if err := rdb.XDel(t.Context(), key, first.ID).Err(); err != nil {
		t.Fatal(err)
	}
	w.refuses([]string{"journal", "verify"}, "findings", "heads kept elsewhere")
}

// TestRulesCommands: errors in a rule pack name the file, the line and what to do, and a
// change is shown with what it changes.
func TestRulesCommands(t *testing.T) {
	w := &town{t: t, broker: httptest.NewServer(http.NotFoundHandler())}
	defer w.broker.Close()
	w.says([]string{"rules", "check"}, "all good", "not reviewed against their source", "not legal advice")
	w.says([]string{"rules", "explain", "GB-AUTO"}, "UKGC LCCP", "require-review", "holds for [protection]")
	w.says([]string{"rules", "explain", "GB"}, "GB is under pack GB", "GB-STRONG", "NOT REVIEWED")
	w.says([]string{"rules", "explain", "FR"}, "FR is under pack FR")
	w.says([]string{"rules", "explain", "GB", "--at", "2021-01-01"}, "on 2021-01-01")
	w.says([]string{"rules", "explain", "--vocabulary"}, "player.failed_game")
	w.refuses([]string{"rules", "explain", "GB-DIRECT"}, `"GB-DIRECT" is no rule, no pack and no jurisdiction`)
	w.refuses([]string{"rules", "explain", "GB", "--at", "yesterday"}, "--at")
	w.says([]string{"rules", "diff", "../../models"}, "no rule, no marker and no action differs")
	w.refuses([]string{"rules", "diff", "nowhere"}, "nowhere")

	changed := func(old, now string) string {
		dir := t.TempDir()
		if err := os.CopyFS(filepath.Join(dir, "rules"), os.DirFS("../../models/rules")); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"features.yaml", "actions.yaml", "markers.yaml", "rules/GB.yaml"} {
			b, err := os.ReadFile("../../models/" + name)
			if err != nil {
				t.Fatal(err)
			}
			text := string(b)
			if name == "rules/GB.yaml" {
				if text = strings.Replace(text, old, now, 1); text == string(b) {
					t.Fatalf("GB.yaml has no %q", old)
				}
			}
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	w.refuses([]string{"rules", "check", "--models", changed("player.strong_indicator", "player.strong_indicatr")},
		"rules/GB.yaml:", "there is no player.strong_indicatr", "--vocabulary")
	w.refuses([]string{"rules", "check", "--models", changed("expect: pass", "expect: deny")}, "rules/GB.yaml:", "expected deny, got pass", "correct the declaration or the example")
	w.refuses([]string{"rules", "diff", "../../models", changed("scores.harm >= 0.7", "scores.harm >= 0.6")}, "changed without a new version: rule GB-STRONG")
	w.says([]string{"rules", "diff", "../../models", changed("id: GB-STRONG\n    version: 1", "id: GB-STRONG\n    version: 2")}, `version: "1" → "2"`)
	w.refuses([]string{"rules", "check", "--models", changed("min_age: {all: 18}\n", "")}, "rules/GB.yaml", "min_age is missing")
}
