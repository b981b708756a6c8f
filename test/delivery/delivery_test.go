// Package delivery delivers events to the real functions as a Broker may: twice and out of
// order. Knative's Kafka Broker does both, since its producer has five pending requests and
// is not idempotent.
package delivery

import (
	"context"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"github.com/go-json-experiment/json"
	"pgregory.net/rapid"

	"pitboss/functions/decide"
	"pitboss/functions/feedback"
	"pitboss/functions/profile"
	"pitboss/functions/score"
	"pitboss/internal/event"
	"pitboss/internal/journal"
	"pitboss/internal/model"
	"pitboss/internal/player"
	"pitboss/test/redistest"
)

// function is a Trigger's subscriber.
type function interface {
	Handle(context.Context, ce.Event) (*ce.Event, error)
}

// system runs the functions on an event's path with an empty Redis.
type system struct {
	profile, score, decide, feedback function
	journal                          *journal.Journal
}

func newSystem(t *testing.T) *system {
	t.Helper()
	if err := model.OpenRuntime(model.Library(os.Getenv("ONNXRUNTIME_LIB"))); err == model.ErrNoRuntime {
		t.Skip(err)
	}
	url := redistest.Start(t)
	rdb := redistest.Client(t, url)
	s := &system{journal: journal.New(rdb, 1)}
	cfg := map[string]string{"REDIS_URL": url, "MODELS_DIR": "../../models", "DECIDE_CLOCK": "event", "MODELS_POLL": "0s", "ONNXRUNTIME_LIB": os.Getenv("ONNXRUNTIME_LIB")}
	p, sc, d, f := profile.New(), score.New(), decide.New(), feedback.New()
	for _, f := range []interface {
		Start(context.Context, map[string]string) error
		Stop(context.Context) error
	}{p, sc, d, f} {
		if err := f.Start(context.Background(), cfg); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Stop(context.Background()) })
	}
	s.profile, s.score, s.decide, s.feedback = p, sc, d, f
	return s
}

// takers returns the functions whose Triggers match an event.
func (s *system) takers(e *ce.Event) []function {
	switch e.Type() {
	case event.TypePlayerUpdated:
		return []function{s.score}
	case event.TypePlayerScored:
		return []function{s.decide}
	case event.TypeExcluded, event.TypeConsentChanged:
		return []function{s.profile, s.decide}
	case event.TypeRecommendation:
		return []function{s.feedback}
	case event.TypeDelivered:
		return []function{s.profile, s.feedback}
	case event.TypeSuppressed, event.TypeRevoked, event.TypeReviewRequested:
		return nil
	}
	return []function{s.profile}
}

// broker delivers events and their replies.
type broker struct {
	t       *rapid.T
	s       *system
	waiting []delivery
	replies map[string]string // the first answer, by input
	issued  map[string]string // the player, by decision
}

type delivery struct {
	to    function
	event *ce.Event
	times int
}

func (b *broker) send(e *ce.Event) {
	for _, f := range b.s.takers(e) {
		b.waiting = append(b.waiting, delivery{to: f, event: e})
	}
	if e.Type() == event.TypeRecommendation {
		b.team(e)
	}
}

// team shows recommendations to the player and sends their outcomes.
func (b *broker) team(e *ce.Event) {
	r, err := event.Decode[event.Recommendation](e)
	if err != nil {
		b.t.Fatal(err)
	}
	b.issued[r.Decision] = e.Subject()
	out := eventOf(event.TypeDelivered, e.Subject(), "delivered-"+e.ID(), e.Time(), event.Outcome{Recommendation: e.ID(), Channel: r.Channel})
	b.send(&out)
}

// run delivers until nothing waits. Out of order, any of the first eight comes next. Repeated,
// a delivery or a reply may come up to three times.
func (b *broker) run(reorder, repeat bool) {
	for len(b.waiting) > 0 {
		at := 0
		if reorder {
			at = rapid.IntRange(0, min(7, len(b.waiting)-1)).Draw(b.t, "next")
		}
		d := b.waiting[at]
		again := repeat && d.times < 2 && rapid.IntRange(0, 3).Draw(b.t, "again") == 0
		if again {
			b.waiting[at].times++
		} else {
			b.waiting = append(b.waiting[:at], b.waiting[at+1:]...)
		}
		reply, err := d.to.Handle(context.Background(), *d.event)
		if err != nil {
			b.t.Fatalf("%s %s: %v", d.event.Type(), d.event.ID(), err)
		}
		if reply == nil {
			continue
		}
		b.same(d, reply)
		b.send(reply)
	}
}

// same compares a reply with the one to an earlier delivery of the same event: the decision
// and the reply's identity must not change.
func (b *broker) same(d delivery, reply *ce.Event) {
	key := fmt.Sprintf("%T %s %s", d.to, d.event.Source(), d.event.ID())
	said := reply.Type() + " " + reply.ID()
	if d.to == b.s.decide {
		said += string(reply.Data())
	}
	if first, ok := b.replies[key]; ok && first != said {
		b.t.Fatalf("%s was answered with\n%s\nand then with\n%s", key, first, said)
	}
	b.replies[key] = said
}

func eventOf(typ, player, id string, at time.Time, data any) ce.Event {
	body, err := json.Marshal(data)
	if err != nil {
		panic(err)
	}
	e := ce.New()
	e.SetID(id)
	e.SetSource("/lobby")
	e.SetType(typ)
	e.SetSubject(player)
	e.SetTime(at)
	e.SetDataContentType(ce.ApplicationJSON)
	e.DataEncoded = body
	return e
}

// lives returns events of two players, in order of time.
func lives(t *rapid.T, run string) (out []ce.Event) {
	at := time.Now().UTC().Truncate(time.Second).Add(-time.Hour)
	for n := range 2 {
		player := fmt.Sprintf("%s-%d", run, n)
		add := func(typ string, data any) {
			at = at.Add(time.Duration(rapid.IntRange(1, 40).Draw(t, "seconds")) * time.Second)
			out = append(out, eventOf(typ, player, fmt.Sprintf("%s-%d", player, len(out)), at, data))
		}
		add(event.TypeAccountRegistered, event.AccountRegistered{Jurisdiction: "GB", BirthDate: "1980-05-01", Brand: "b", Currency: "GBP"})
		add(event.TypeSessionStarted, event.SessionStarted{Device: "web"})
		for range rapid.IntRange(3, 10).Draw(t, "events") {
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0:
				add(event.TypePaymentFailed, event.PaymentFailed{Operation: "deposit", Amount: 2000, Currency: "GBP", Error: "declined"})
			case 1:
				add(event.TypePaymentDeposited, event.Payment{Amount: rapid.Int64Range(100, 300000).Draw(t, "amount"), Currency: "GBP"})
			case 2:
				add(event.TypeConsentChanged, event.ConsentChanged{Product: "all", Channel: "all", Granted: rapid.Bool().Draw(t, "granted"), Origin: "site"})
			case 3:
				add(event.TypeGameFailed, event.GameFailed{Game: "book", Product: "casino", Error: "timeout"})
			default:
				add(event.TypeRoundSettled, event.RoundSettled{Game: "book", Product: "casino", Category: "slots", Currency: "GBP",
					Stake: rapid.Int64Range(10, 5000).Draw(t, "stake"), Win: rapid.Int64Range(0, 5000).Draw(t, "win")})
			}
		}
	}
	return out
}

// However often and in whatever order a Broker delivers events and replies, the players'
// states end the same, each event leads to one decision and one answer, each outcome is
// journaled once, and the journal's chain is whole.
func TestABrokerMayRepeatAndReorder(t *testing.T) {
	t.Parallel()
	inOrder, anyhow := newSystem(t), newSystem(t)
	run := 0
	rapid.Check(t, func(t *rapid.T) {
		run++
		events := lives(t, fmt.Sprintf("p%d", run))
		var features [2][]map[string]float64
		for i, s := range []*system{inOrder, anyhow} {
			b := &broker{t: t, s: s, replies: map[string]string{}, issued: map[string]string{}}
			for n := range events {
				b.send(&events[n])
				if i == 0 { // one after another, each with everything that follows from it
					b.run(false, false)
				}
			}
			b.run(i == 1, i == 1)
			features[i] = b.final(events[len(events)-1].Time(), run)
			b.journaled(s.journal, run)
		}
		for p, want := range features[0] {
			for name, v := range want {
				if got := features[1][p][name]; math.Abs(got-v) > 1e-9*max(1, math.Abs(v)) {
					t.Errorf("player %d: %s is %v, in order %v", p, name, got, v)
				}
			}
		}
	})
	for _, s := range []*system{inOrder, anyhow} {
		if v, err := s.journal.Verify(t.Context(), journal.Segments{}); err != nil || v.Entries == 0 || len(v.Findings) > 0 {
			t.Errorf("verify: %+v, %v", v, err)
		}
	}
}

// final reads each player's features from profile, with an event that asks for a decision.
func (b *broker) final(after time.Time, run int) (out []map[string]float64) {
	for n := range 2 {
		player := fmt.Sprintf("p%d-%d", run, n)
		e := eventOf(event.TypePaymentFailed, player, player+"-final", after.Add(time.Minute), event.PaymentFailed{Operation: "deposit", Amount: 1, Currency: "GBP", Error: "declined"})
		reply, err := b.s.profile.Handle(context.Background(), e)
		if err != nil || reply == nil {
			b.t.Fatalf("final: %v, %v", reply, err)
		}
		updated, err := event.Decode[event.PlayerUpdated](reply)
		if err != nil {
			b.t.Fatal(err)
		}
		values := map[string]float64{}
		if err := json.Unmarshal(updated.Features, &values); err != nil {
			b.t.Fatal(err)
		}
		for name := range values {
			if strings.HasPrefix(name, "recommendations_") || strings.HasPrefix(name, "shown_") {
				delete(values, name) // it depends on what was known at the time of the decision
			}
		}
		out = append(out, values)
	}
	return out
}

// journaled reads the players' shards and checks that there is a decision for each issued
// one, an outcome for each, and no entry twice.
func (b *broker) journaled(j *journal.Journal, run int) {
	ctx := context.Background()
	shards := map[int]bool{}
	for n := range 2 {
		shards[player.Shard(fmt.Sprintf("p%d-%d", run, n))] = true
	}
	times := map[string]int{}
	for shard := range shards {
		err := j.Each(ctx, shard, 0, false, func(e *journal.Entry) error {
			var open struct{ ID, Decision string }
			if e.Kind == journal.KindDecision || e.Kind == journal.KindOutcome {
				if err := json.Unmarshal(e.Open, &open, json.MatchCaseInsensitiveNames(true)); err != nil {
					return err
				}
				times[e.Kind+" "+open.ID+open.Decision]++
			}
			return nil
		})
		if err != nil {
			b.t.Fatal(err)
		}
	}
	for entry, n := range times {
		if n != 1 {
			b.t.Errorf("%s is in the journal %d times", entry, n)
		}
	}
	for decision := range b.issued {
		if times["decision "+decision] != 1 || times["outcome "+decision] != 1 {
			b.t.Errorf("%s: %d decisions, %d outcomes", decision, times["decision "+decision], times["outcome "+decision])
		}
	}
}
