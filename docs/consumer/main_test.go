package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"

	"pitboss/broker/manifest"
	"pitboss/internal/event"
)

// The example's reply is an event of the contract.
func TestRepliesWithAnOutcome(t *testing.T) {
	for body, want := range map[string]string{
		`{"action":"a","message":"m","dedup_key":"k1","expires":"2999-01-01T00:00:00Z"}`: event.TypeDelivered,
		`{"action":"a","message":"m","dedup_key":"k2","expires":"2020-01-01T00:00:00Z"}`: event.TypeExpired,
	} {
		w := deliver(body)
		e, err := cehttp.NewEventFromHTTPResponse(w.Result())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := event.Parse(e, time.Now()); err != nil || e.Type() != want {
			t.Errorf("reply %s: %v; want %s", e.Type(), err, want)
		}
		if again := deliver(body); again.Code != http.StatusOK || again.Header().Get("Ce-Id") != "" {
			t.Errorf("the second delivery was answered with an event again")
		}
	}
	if w := deliver("nonsense"); w.Code != http.StatusBadRequest {
		t.Errorf("nonsense: %d, want 400", w.Code)
	}
}

func deliver(body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	r.Header.Set("Ce-Id", "rec-1")
	r.Header.Set("Ce-Subject", "player-1")
	w := httptest.NewRecorder()
	handle(w, r)
	return w
}

func TestTriggerIsValid(t *testing.T) {
	if ps := manifest.CheckFile("trigger.yaml"); len(ps) > 0 {
		t.Error(ps)
	}
}
