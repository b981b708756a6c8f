package main

import (
	"errors"
	"net/http"
	"testing"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"

	"pitboss/broker/manifest"
	"pitboss/internal/event"
)

// The example's reply is an event of the contract, and there is one of each recommendation.
func TestRepliesWithAnOutcome(t *testing.T) {
	for body, want := range map[string]string{
		`{"action":"a","message":"m","dedup_key":"k1","expires":"2999-01-01T00:00:00Z"}`: event.TypeDelivered,
		`{"action":"a","message":"m","dedup_key":"k2","expires":"2020-01-01T00:00:00Z"}`: event.TypeExpired,
	} {
		e, err := receive(recommended(body))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := event.Parse(e, time.Now()); err != nil || e.Type() != want {
			t.Errorf("reply %s: %v; want %s", e.Type(), err, want)
		}
		if again, err := receive(recommended(body)); again != nil || err != nil {
			t.Errorf("the second delivery was answered with %v, %v", again, err)
		}
	}
	_, err := receive(recommended("nonsense"))
	if result := (*cehttp.Result)(nil); !errors.As(err, &result) || result.StatusCode != http.StatusBadRequest {
		t.Errorf("nonsense: %v, want 400", err)
	}
}

func recommended(body string) ce.Event {
	e := ce.New()
	e.SetID("rec-1")
	e.SetSource("/pitboss/decide")
	e.SetType(event.TypeRecommendation)
	e.SetSubject("player-1")
	e.SetDataContentType(ce.ApplicationJSON)
	e.DataEncoded = []byte(body)
	return e
}

func TestTriggerIsValid(t *testing.T) {
	if ps := manifest.CheckFile("trigger.yaml"); len(ps) > 0 {
		t.Error(ps)
	}
}
