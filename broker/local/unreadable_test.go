package main

import (
	"bytes"
	"fmt"
	"net/http"
	"testing"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"

	"pitboss/internal/event"
	"pitboss/test/shipped"
)

// What cannot be read is refused for good at the first attempt, whoever's it
// is: data that is no JSON, of every type, POSTed to the Broker past ingest,
// costs not one retry, and the same player's exclusion does not wait for it.
func TestUnreadableDataIsNeverRetried(t *testing.T) {
	s := startSystem(t)
	rubbish := [][]byte{[]byte("not json"), {}, {0xff, 0xfe, 0}, []byte(`{"a":`), {0x1f, 0x8b, 8, 0}, []byte("[]"), []byte("null")}
	n := 0
	for _, info := range event.Types() {
		for _, data := range rubbish {
			n++
			s.raw(info.Type, fmt.Sprint("rubbish-", n), data)
		}
	}
	s.raw(event.TypeExcluded, "exclusion", []byte(`{"scheme":"GAMSTOP"}`))
	s.quiet()
	var stats struct {
		DeadLetters int `json:"dead_letters"`
		Triggers    []struct {
			Name    string
			Retried int
		}
	}
	s.get(s.url+"/admin/stats", &stats)
	for _, trigger := range stats.Triggers {
		if trigger.Retried > 0 {
			t.Errorf("%s retried %d events", trigger.Name, trigger.Retried)
		}
	}
	var letters []struct {
		Code  int
		Event struct{ ID string }
	}
	// One of the types says that the player was erased, whose dead letters then leave.
	s.await("as many dead letters as are counted", func() bool {
		s.get(s.url+"/admin/stats", &stats)
		letters = letters[:0]
		s.get(s.url+"/admin/deadletters?limit=1000", &letters)
		return len(letters) == stats.DeadLetters && len(letters) > 0
	})
	for _, l := range letters {
		if l.Code < 400 || l.Code > 499 || l.Event.ID == "exclusion" {
			t.Errorf("dead letter %s: code %d", l.Event.ID, l.Code)
		}
	}
	about := ce.New()
	about.SetSubject("mallory")
	if state := s.states([]*ce.Event{&about})["mallory"]; len(shipped.Features(s.t).Facts(state).Exclusions) != 1 {
		t.Error("mallory is not excluded")
	}
}

// raw POSTs an event of mallory's with this data to the Broker.
func (s *system) raw(typ, id string, data []byte) {
	s.t.Helper()
	req, _ := http.NewRequest(http.MethodPost, s.url, bytes.NewReader(data))
	for name, v := range map[string]string{"Ce-Specversion": "1.0", "Ce-Type": typ, "Ce-Source": "/test", "Ce-Id": id, "Ce-Subject": "mallory",
		"Ce-Time": time.Now().UTC().Format(time.RFC3339Nano), "Content-Type": "application/json"} {
		req.Header.Set(name, v)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusAccepted {
		s.t.Fatalf("%s %q: %s", typ, data, res.Status)
	}
}
