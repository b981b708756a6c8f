package console_test

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"testing"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"

	"pitboss/functions/privacy"
	"pitboss/internal/event"
	"pitboss/test/redistest"
)

// erase erases a player through privacy, and returns the time of the erasure.
func erase(t *testing.T, redisURL, player string) time.Time {
	t.Helper()
	f := privacy.New()
	if err := f.Start(context.Background(), map[string]string{"REDIS_URL": redisURL, "MODELS_DIR": "../../models"}); err != nil {
		t.Fatal(err)
	}
	defer f.Stop(context.Background())
	e := ce.New()
	e.SetID("erase-" + player)
	e.SetSource("/test")
	e.SetType(event.TypePrivacyErase)
	e.SetSubject(player)
	e.SetTime(time.Now())
	if err := e.SetData(ce.ApplicationJSON, event.PrivacyRequest{Request: "R-" + player}); err != nil {
		t.Fatal(err)
	}
	out, err := f.Handle(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	return out.Time()
}

// deadLettersOf returns the subjects of the dead letters' events by id.
func (s *served) deadLettersOf() map[string]string {
	s.t.Helper()
	var page struct {
		DeadLetters []struct {
			Event struct{ ID, Subject string }
		} `json:"dead_letters"`
	}
	if status := s.get("/api/deadletters", &page); status != http.StatusOK {
		s.t.Fatal(status)
	}
	out := map[string]string{}
	for _, d := range page.DeadLetters {
		out[d.Event.ID] = d.Event.Subject
	}
	return out
}

// A Broker that retries sends dead letters minutes after their events, when the player may
// have been erased. They do not bring back the player's data. Dead letters of events that
// outlive the erasure, or that came after it, are kept.
func TestADeadLetterThatComesAfterTheErasureIsNotKept(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	s := start(t, map[string]string{"REDIS_URL": redis})
	send := func(typ, id, player string, at time.Time) {
		t.Helper()
		ext := map[string]string{"time": at.UTC().Format(time.RFC3339Nano)}
		if status := s.postTo("/deadletters", typ, id, player, ext, map[string]string{"secret": player}); status != http.StatusAccepted {
			t.Fatalf("%s: %d", id, status)
		}
	}
	send(event.TypeRoundSettled, "early", "erased", time.Now())
	send(event.TypeExcluded, "early-exclusion", "erased", time.Now())
	at := erase(t, redis, "erased")
	send(event.TypeRoundSettled, "before", "erased", at.Add(-time.Minute))
	send(event.TypeRoundSettled, "same-moment", "erased", at)
	send(event.TypeExcluded, "exclusion", "erased", at.Add(-time.Minute))
	send(event.TypePrivacyErased, "news", "erased", at)
	send(event.TypeRoundSettled, "after", "erased", at.Add(time.Millisecond))
	send(event.TypeRoundSettled, "other", "somebody", at.Add(-time.Minute))
	want := []string{"after", "early-exclusion", "exclusion", "news", "other"}
	if got := slices.Sorted(maps.Keys(s.deadLettersOf())); !slices.Equal(got, want) {
		t.Errorf("kept are %v, want %v", got, want)
	}
}

// A console without Redis cannot read the mark of an erasure, so it remembers privacy.erased
// itself, in whichever order that event and dead letters arrive.
func TestWithoutRedisAnErasureIsRememberedToo(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	at := time.Now()
	stamp := func(at time.Time) map[string]string {
		return map[string]string{"time": at.UTC().Format(time.RFC3339Nano)}
	}
	send := func(typ, id, player string, at time.Time) {
		t.Helper()
		if status := s.postTo("/deadletters", typ, id, player, stamp(at), map[string]string{"secret": player}); status != http.StatusAccepted {
			t.Fatalf("%s: %d", id, status)
		}
	}
	send(event.TypeRoundSettled, "early", "erased", at.Add(-time.Minute))
	send(event.TypeRoundSettled, "early-after", "erased", at.Add(time.Second))
	if status := s.post(event.TypePrivacyErased, "erasure", "erased", stamp(at), map[string]string{}); status != http.StatusAccepted {
		t.Fatal(status)
	}
	// The console answers before the erasure takes effect, so wait for that.
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, there := s.deadLettersOf()["early"]; !there {
			break
		}
		if time.Now().After(end) {
			t.Fatal("a dead letter of before the erasure stays")
		}
	}
	send(event.TypeRoundSettled, "before", "erased", at.Add(-time.Minute))
	send(event.TypeRoundSettled, "same-moment", "erased", at)
	send(event.TypeExcluded, "exclusion", "erased", at.Add(-time.Minute))
	send(event.TypeRoundSettled, "after", "erased", at.Add(time.Second))
	send(event.TypeRoundSettled, "other", "somebody", at.Add(-time.Minute))
	want := []string{"after", "early-after", "exclusion", "other"}
	if got := slices.Sorted(maps.Keys(s.deadLettersOf())); !slices.Equal(got, want) {
		t.Errorf("kept are %v, want %v", got, want)
	}
}

// A new console says at once how many dead letters wait, since an alert reads it.
func TestANewConsoleCountsTheDeadLettersOfBefore(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	start(t, map[string]string{"REDIS_URL": redis}).deadLetter("pitboss-profile", "e1", "alice", "no")
	s := start(t, map[string]string{"REDIS_URL": redis})
	var now deadLettersNow
	for end := time.Now().Add(30 * time.Second); now.Frame.Letters != 1; time.Sleep(20 * time.Millisecond) {
		if s.get("/api/live", &now); time.Now().After(end) {
			t.Fatalf("%+v", now.Frame)
		}
	}
	if now.Frame.Lately != 0 {
		t.Errorf("what was there before is news: %+v", now.Frame)
	}
}
