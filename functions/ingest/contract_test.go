package ingest

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"pitboss/internal/event"
)

func session(id, subject, members string) string {
	return fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"/p","type":%q,"subject":%q,"time":"2026-01-01T00:00:00Z"%s,"data":{}}`,
		id, event.TypeSessionStarted, subject, members)
}

// A batch may span hours. If a player's last event reached the Broker before the first, the
// first would be late.
func TestABatchIsForwardedInOrderOfTimeByPlayer(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	url := serve(t, map[string]string{"K_SINK": b.URL})
	var events []string
	for i := range 200 {
		at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(i) * 20 * time.Minute).Format(time.RFC3339)
		events = append(events, strings.Replace(session(fmt.Sprint(i), fmt.Sprint("p", i%3), ""), "2026-01-01T00:00:00Z", at, 1))
	}
	rand.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
	if res, p := post(t, url, "application/cloudevents-batch+json", "["+strings.Join(events, ",")+"]"); res.StatusCode != 202 {
		t.Fatalf("%d %+v", res.StatusCode, p)
	}
	last := map[string]string{}
	for _, h := range b.got {
		player, at := h.Get("Ce-Subject"), h.Get("Ce-Time")
		if at <= last[player] {
			t.Errorf("%s: %s came after %s", player, at, last[player])
		}
		last[player] = at
	}
	if b.count() != len(events) {
		t.Errorf("%d events of %d", b.count(), len(events))
	}
}

func TestWhatIsPitbosssOwnIsNotThePlatforms(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	url := serve(t, map[string]string{"K_SINK": b.URL})
	for _, source := range []string{"/pitboss/gateway", "/pitboss/", "/pitboss"} {
		res, p := post(t, url, "application/cloudevents+json", strings.Replace(session("1", "alice", ""), `"/p"`, `"`+source+`"`, 1))
		if res.StatusCode != 400 || p.Code != event.CodeReserved || p.Errors[0].Pointer != "/source" {
			t.Errorf("%s: %d %+v, want 400 at /source", source, res.StatusCode, p)
		}
	}
	extra := `,"partitionkey":"shop-7","knativebrokerttl":"1","knativearrivaltime":"x","receivedtime":"yesterday","shop":7,"tracestate":"` + strings.Repeat("x", 600) + `"`
	if res, p := post(t, url, "application/cloudevents+json", session("2", "ren\u00e9e o", extra)); res.StatusCode != 202 {
		t.Fatalf("%d %+v", res.StatusCode, p)
	}
	got := b.got[0]
	for header, want := range map[string]string{"Ce-Subject": "ren%C3%A9e%20o", "Ce-Partitionkey": "ren%C3%A9e%20o", "Ce-Shop": "7",
		"Ce-Knativebrokerttl": "", "Ce-Knativearrivaltime": "", "Ce-Tracestate": ""} {
		if got.Get(header) != want {
			t.Errorf("%s is %q, want %q", header, got.Get(header), want)
		}
	}
	if _, err := time.Parse(time.RFC3339Nano, got.Get("Ce-Receivedtime")); err != nil {
		t.Error(err)
	}
}

// An event that the Broker could never accept is refused for good, alone and in a batch.
func TestWhatIsTooLargeToForwardIsFinal(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	small := serve(t, map[string]string{"K_SINK": b.URL, "INGEST_MAX_EVENT": "2000"})
	url := serve(t, map[string]string{"K_SINK": b.URL})
	big := func(n int, c string) string { return session("1", "alice", `,"note":"`+strings.Repeat(c, n)+`"`) }
	for _, tc := range []struct{ url, event, pointer string }{
		{url, big(17000, "x"), "/note"},
		{url, big(event.MaxAttributes/6, "é"), "/note"}, // six bytes each, once encoded
		{url, session("1", "alice", `,"a":"`+strings.Repeat("x", 4000)+`","b":"`+strings.Repeat("x", 4001)+`"`), "/b"},
		{small, big(2000, "x"), "/data"},
	} {
		res, p := post(t, tc.url, "application/cloudevents+json", tc.event)
		if res.StatusCode != 400 || p.Code != event.CodeTooLarge || p.Errors[0].Pointer != tc.pointer {
			t.Errorf("%.120s: %d %+v, want 400 at %s", tc.event, res.StatusCode, p, tc.pointer)
		}
		res, p = post(t, tc.url, "application/cloudevents-batch+json", "["+session("2", "bob", "")+","+tc.event+"]")
		if res.StatusCode != 400 || p.Code != event.CodeTooLarge || p.Errors[0].Pointer != "/1"+tc.pointer {
			t.Errorf("in a batch: %d %+v, want 400 at /1%s", res.StatusCode, p, tc.pointer)
		}
	}
	if n := b.count(); n != 0 {
		t.Errorf("%d reached the Broker", n)
	}
	b.mu.Lock()
	b.status = http.StatusRequestHeaderFieldsTooLarge
	b.mu.Unlock()
	if res, p := post(t, url, "application/cloudevents+json", session("1", "alice", "")); res.StatusCode != 431 {
		t.Errorf("the Broker's own limit is lower: %d %+v, want 431", res.StatusCode, p)
	}
}

func TestOtherMediaTypesAreRefusedByName(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	url := serve(t, map[string]string{"K_SINK": b.URL})
	binary := []string{"ce-specversion", "1.0", "ce-id", "1", "ce-source", "/p", "ce-type", event.TypeSessionStarted, "ce-subject", "alice", "ce-time", "2026-01-01T00:00:00Z"}
	for contentType, want := range map[string]int{"Application/JSON": 202, "application/json; charset=UTF-8": 202, "application/json;charset=latin1": 400,
		"application/json-seq": 400, "application/vnd.acme+json": 400, "text/json": 400, "application/cloudevents+avro": 415} {
		res, p := post(t, url, contentType, "{}", binary...)
		if res.StatusCode != want || want != 202 && (len(p.Errors) == 0 || p.Errors[0].Pointer != "/datacontenttype") {
			t.Errorf("%s: %d %+v, want %d", contentType, res.StatusCode, p, want)
		}
	}
}
