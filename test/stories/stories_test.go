// Package stories sends the events of short stories (models/stories) through profile, score
// and decide, and checks what the players must and must not be sent.
package stories

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	ce "github.com/cloudevents/sdk-go/v2/event"
	"github.com/go-json-experiment/json"

	"pitboss/functions/decide"
	"pitboss/functions/profile"
	"pitboss/functions/score"
	"pitboss/internal/event"
	"pitboss/internal/model"
	"pitboss/internal/policy"
	"pitboss/internal/strictyaml"
	"pitboss/test/shipped"
)

const models = "../../models"

var update = flag.Bool("update", false, "write docs/stories.md")

// story is one file of models/stories.
type story struct {
	Title  string  `yaml:"title"`
	Where  string  `yaml:"where"` // jurisdiction; empty: unknown
	Age    int     `yaml:"age"`   // 0: no birth date
	Zone   string  `yaml:"zone"`
	Money  string  `yaml:"currency"`
	Also   account `yaml:"account"`
	Opted  string  `yaml:"consent"` // product/channel; default all/all; none: never asked
	Origin string  `yaml:"origin"`
	At     string  `yaml:"at"` // time of day, UTC, of the first step
	// Past is play two days earlier, so that a welcome message is worth sending.
	Past  string `yaml:"past"` // product, or product/category
	Steps []step `yaml:"steps"`
}

type account struct {
	Licensee      string `yaml:"licensee"`
	Affordability string `yaml:"affordability"`
}

// step is one event, or the same one several times, and what the player is sent for it:
// actions, kinds, or "anything".
type step struct {
	Wait    strictyaml.Duration `yaml:"wait"` // time since the step before
	Event   string              `yaml:"event"`
	Data    map[string]any      `yaml:"data"`
	Times   int                 `yaml:"times"`
	Every   strictyaml.Duration `yaml:"every"`
	Gets    []string            `yaml:"gets"`
	Never   []string            `yaml:"never"`
	Because []string            `yaml:"because"` // rules or blocks that stop something, or markers among the reasons
}

// TestMain sets the log level for all tests, because the functions read it when they start and
// the tests run in parallel.
func TestMain(m *testing.M) {
	if os.Getenv("LOG_LEVEL") == "" {
		_ = os.Setenv("LOG_LEVEL", "error")
	}
	os.Exit(m.Run())
}

type handler interface {
	Handle(context.Context, ce.Event) (*ce.Event, error)
}

type world struct {
	profile, score, decide handler
	policy                 *policy.Policy
	base                   time.Time
}

func start(t *testing.T) *world {
	t.Helper()
	if err := model.OpenRuntime(model.Library(os.Getenv("ONNXRUNTIME_LIB"))); err == model.ErrNoRuntime {
		t.Skip(err)
	}
	w := &world{base: time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, -20)}
	w.policy, _ = shipped.Policy(t)
	cfg := map[string]string{"REDIS_URL": "redis://" + miniredis.RunT(t).Addr(), "MODELS_DIR": models, "DECIDE_CLOCK": "event", "MODELS_POLL": "0s",
		"ONNXRUNTIME_LIB": os.Getenv("ONNXRUNTIME_LIB")}
	p, s, d := profile.New(), score.New(), decide.New()
	for _, f := range []interface {
		Start(context.Context, map[string]string) error
		Stop(context.Context) error
	}{p, s, d} {
		if err := f.Start(context.Background(), cfg); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Stop(context.Background()) })
	}
	w.profile, w.score, w.decide = p, s, d
	return w
}

// player is a name that the experiment puts into the greedy arm.
func (w *world) player(title string) string {
	for n := 0; ; n++ {
		id := fmt.Sprintf("%s-%d", title, n)
		in := policy.Input{Player: id, Contacts: &policy.Contacts{}, Features: make([]float64, len(w.policy.FeatureNames()))}
		if d := w.policy.Decide(&in); d.Arm == "greedy" {
			return id
		}
	}
}

// told is what a story's player was sent, and the reasons.
type told struct {
	sent, why []string
}

// life is a story that is being played.
type life struct {
	t  *testing.T
	w  *world
	id string
	n  int
	at time.Time
}

// happen sends an event along the Triggers.
func (l *life) happen(typ string, data any) (out told) {
	l.n++
	body, err := json.Marshal(data)
	if err != nil {
		l.t.Fatal(err)
	}
	e := ce.New()
	e.SetID(fmt.Sprintf("e%d", l.n))
	e.SetSource("/stories")
	e.SetType("pitboss." + typ + ".v1")
	e.SetSubject(l.id)
	e.SetTime(l.at)
	e.SetDataContentType(ce.ApplicationJSON)
	e.DataEncoded = body
	replies := []*ce.Event{l.w.pass(l.t, &e)}
	if typ == "protection.excluded" || typ == "consent.changed" {
		reply, err := l.w.decide.Handle(context.Background(), e)
		if err != nil {
			l.t.Fatalf("%s: %v", typ, err)
		}
		replies = append(replies, reply)
	}
	for _, r := range replies {
		if r == nil {
			continue
		}
		rec, err := event.Decode[event.Recommendation](r)
		if err != nil {
			l.t.Fatal(err)
		}
		if r.Type() == event.TypeRecommendation {
			out.sent = append(out.sent, rec.Action, rec.Kind, "anything")
		}
		for _, b := range rec.Blocked {
			out.why = append(out.why, b.Rule)
		}
		for _, reason := range rec.Reasons {
			out.why = append(out.why, reason.Code, strings.TrimPrefix(reason.Code, "marker:"))
		}
	}
	return out
}

func (l *life) begin(s *story) {
	clock, err := time.Parse("15:04", s.At)
	if err != nil {
		l.t.Fatal(err)
	}
	start := l.w.base.Add(time.Duration(clock.Hour())*time.Hour + time.Duration(clock.Minute())*time.Minute)
	l.at = start.AddDate(0, 0, -3)
	a := event.AccountRegistered{Jurisdiction: s.Where, Brand: "b", Currency: s.Money, TimeZone: s.Zone, Licensee: s.Also.Licensee, Affordability: s.Also.Affordability}
	if s.Age > 0 {
		a.BirthDate = start.AddDate(-s.Age, 0, -10).Format(time.DateOnly)
	}
	if s.Where != "" {
		l.happen("account.registered", a)
	} else {
		l.happen("account.updated", event.Account{BirthDate: a.BirthDate, Currency: a.Currency, TimeZone: a.TimeZone})
	}
	if s.Opted != "none" {
		product, channel, _ := strings.Cut(s.Opted, "/")
		l.happen("consent.changed", event.ConsentChanged{Product: product, Channel: channel, Granted: true, Origin: s.Origin})
	}
	if s.Past != "" {
		product, category, _ := strings.Cut(s.Past, "/")
		for range 30 {
			l.at = l.at.Add(5 * time.Second)
			l.happen("round.settled", event.RoundSettled{Game: "g", Product: product, Category: category, Stake: 100, Win: 105, Currency: s.Money})
		}
	}
	l.at = start
}

func (l *life) play(s *step) (out told) {
	l.at = l.at.Add(time.Duration(s.Wait))
	for n := range max(s.Times, 1) {
		if n > 0 {
			l.at = l.at.Add(time.Duration(s.Every))
		}
		now := l.happen(s.Event, s.Data)
		out.sent, out.why = append(out.sent, now.sent...), append(out.why, now.why...)
	}
	return out
}

func TestStories(t *testing.T) {
	t.Parallel()
	w := start(t)
	files, err := filepath.Glob(models + "/stories/*.yaml")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d stories, %v", len(files), err)
	}
	var told []story
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		s := story{Zone: "Europe/London", Money: "GBP", At: "12:00", Opted: "all/all", Age: 40}
		if err := strictyaml.Decode(text, &s); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			l := &life{t: t, w: w, id: w.player(name)}
			l.begin(&s)
			for i := range s.Steps {
				s.Steps[i].hold(t, i, l.play(&s.Steps[i]))
			}
		})
		told = append(told, s)
	}
	table(t, told)
}

// hold compares what was sent with what the step expects.
func (s *step) hold(t *testing.T, n int, got told) {
	t.Helper()
	if len(s.Gets)+len(s.Never)+len(s.Because) == 0 {
		return
	}
	for _, want := range s.Gets {
		if !slices.Contains(got.sent, want) {
			t.Errorf("step %d (%s): %s was not sent, but %v, because %v", n+1, s.Event, want, got.sent, got.why)
		}
	}
	for _, not := range s.Never {
		if slices.Contains(got.sent, not) {
			t.Errorf("step %d (%s): %s was sent: %v", n+1, s.Event, not, got.sent)
		}
	}
	for _, why := range s.Because {
		if !slices.Contains(got.why, why) {
			t.Errorf("step %d (%s): nothing is because of %s, but of %v", n+1, s.Event, why, got.why)
		}
	}
}

// table writes the stories into docs/stories.md, or checks that they are there.
func table(t *testing.T, told []story) {
	var b strings.Builder
	b.WriteString("# Stories\n\nThis page lists short lives of players, with what each player must and must not be sent. It shows people who write rules or actions how Pitboss decides.\n\n" +
		"Each story is a file in `models/stories`. `go test ./test/stories` plays all of them through `profile`, `score` and `decide` with the shipped models, rules and\nmarkers; with `-update` it also writes this table.\n\n| story | where | must be sent | must not be sent | because |\n| --- | --- | --- | --- | --- |\n")
	for _, s := range told {
		var gets, never, because []string
		for _, st := range s.Steps {
			gets, never, because = append(gets, st.Gets...), append(never, st.Never...), append(because, st.Because...)
		}
		where := s.Where
		if where == "" {
			where = "unknown"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", s.Title, where, words(gets), words(never), words(because))
	}
	const file = "../../docs/stories.md"
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if now, err := os.ReadFile(file); err != nil || string(now) != b.String() {
		t.Errorf("docs/stories.md is not what the stories say: run go test ./test/stories -update (%v)", err)
	}
}

func words(list []string) string {
	slices.Sort(list)
	return strings.Join(slices.Compact(list), ", ")
}
