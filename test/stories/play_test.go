package stories

import (
	"fmt"
	"strings"
	"testing"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"

	"pitboss/internal/event"
	"pitboss/internal/policy"
	"pitboss/internal/simulator"
)

// Simulated play, as in `make run`, shows within a quarter of an hour how lawful marketing is
// sent and how the law stops it, at whatever time of day it starts.
func TestSimulatedPlayTellsTheStoryAtAnyHour(t *testing.T) {
	t.Parallel()
	w := start(t)
	for hour := range 8 {
		begin := w.base.Add(time.Duration(3*hour) * time.Hour)
		t.Run(begin.Format("15h"), func(t *testing.T) {
			s := w.watch(t, simulator.Config{Seed: uint64(hour + 1), Start: begin, Pace: 20, Guests: true}, begin.Add(15*time.Minute))
			if s.sent["GB"] == 0 || len(s.sent) < 3 {
				t.Errorf("marketing was sent in %v only", s.sent)
			}
			for _, why := range []string{"GB ALL-CONSENT", "IT advertising-not-legal", "AU product-not-legal", "CA-ON under-age", "JP no-rules-here", "GB after-protection"} {
				if s.stopped[why] == 0 {
					t.Errorf("nothing was stopped by %s: %v", why, s.stopped)
				}
			}
			for _, place := range []string{"IT", "AU", "JP", "CA-ON"} {
				if s.sent[place] > 0 {
					t.Errorf("%d marketing messages went to %s", s.sent[place], place)
				}
			}
			day := begin.Add(time.Hour).Hour() // in Berlin, in winter
			if slots := s.sent["DE"] > 0; slots != (day < 6 || day >= 21) || s.stopped["DE DE-HOUR"] > 0 == slots {
				t.Errorf("at %d o'clock in Berlin: %d sent, %d stopped by DE-HOUR", day, s.sent["DE"], s.stopped["DE DE-HOUR"])
			}
			if s.called == 0 || len(s.broken) > 0 {
				t.Errorf("%d calls, and marketing after them to %v", s.called, s.broken)
			}
		})
	}
}

// shown holds what simulated play showed.
type shown struct {
	sent    map[string]int // marketing that was sent, by place
	stopped map[string]int // marketing that was stopped, by place and what stopped it
	called  int            // protection messages to those who lose
	broken  []string       // players who got marketing after one
}

// watch plays a simulated world until a time.
func (w *world) watch(t *testing.T, cfg simulator.Config, until time.Time) shown {
	play := simulator.New(cfg)
	out := shown{sent: map[string]int{}, stopped: map[string]int{}}
	called, kind := map[string]bool{}, map[string]string{}
	for _, a := range w.policy.Actions() {
		kind[a.ID] = a.Kind
	}
	for play.Peek().Before(until) {
		e := play.Next()
		r := w.pass(t, e)
		if r == nil {
			continue
		}
		rec, err := event.Decode[event.Recommendation](r)
		if err != nil {
			t.Fatal(err)
		}
		place := fmt.Sprint(r.Extensions()[event.ExtJurisdiction])
		switch {
		case r.Type() == event.TypeRecommendation && rec.Kind == policy.Marketing:
			out.sent[place]++
			if called[e.Subject()] {
				out.broken = append(out.broken, e.Subject())
			}
		case r.Type() == event.TypeRecommendation && rec.Kind == policy.Protection:
			out.called++
			called[e.Subject()] = true
		}
		for _, b := range rec.Blocked {
			if kind[b.Action] == policy.Marketing {
				out.stopped[place+" "+b.Rule]++
			}
		}
		if r.Type() == event.TypeRecommendation {
			play.Respond(e.Subject(), r.ID(), rec.Kind, rec.Channel, e.Time())
		}
	}
	return out
}

// pass sends an event along the Triggers and returns decide's answer.
func (w *world) pass(t *testing.T, e *ce.Event) *ce.Event {
	for _, f := range []handler{w.profile, w.score, w.decide} {
		reply, err := f.Handle(t.Context(), *e)
		if err != nil {
			t.Fatalf("%s: %v", strings.TrimPrefix(e.Type(), "pitboss."), err)
		}
		if reply == nil {
			return nil
		}
		e = reply
	}
	return e
}

// Models cover players with a history: nearly all decisions about them have every score.
func TestModelsKnowSimulatedPlayersWithAHistory(t *testing.T) {
	t.Parallel()
	w := start(t)
	begin := w.base.Add(12 * time.Hour)
	play := simulator.New(simulator.Config{Seed: 11, Players: 40, Start: begin, Pace: 20, History: true})
	decided, without := 0, map[string]int{}
	for play.Peek().Before(begin.Add(15 * time.Minute)) {
		e := play.Next()
		r := w.pass(t, e)
		if r == nil || e.Time().Before(begin) { // a player's tenth round comes early in their history
			continue
		}
		rec, err := event.Decode[event.Recommendation](r)
		if err != nil {
			t.Fatal(err)
		}
		decided++
		for _, score := range policy.Scores {
			if _, ok := rec.Scores[score]; !ok {
				without[score]++
			}
		}
	}
	for score, n := range without {
		if n > decided/10 {
			t.Errorf("%s is missing in %d of %d decisions", score, n, decided)
		}
	}
	if decided < 20 {
		t.Errorf("%d decisions only", decided)
	}
}
