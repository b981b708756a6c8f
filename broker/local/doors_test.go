package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	ce "github.com/cloudevents/sdk-go/v2/event"

	"pitboss/internal/cehttp"
	"pitboss/internal/dataset"
	"pitboss/internal/event"
	"pitboss/internal/feature"
	"pitboss/internal/player"
	"pitboss/internal/replay"
	"pitboss/internal/setup"
	"pitboss/test/shipped"
)

// sent is an event before it has a form: attributes, of which some may be wrong
// or come twice, and data.
type sent struct {
	attributes [][2]string
	data       string
}

func (e *sent) with(name, value string) *sent {
	return &sent{append(append([][2]string{}, e.attributes...), [2]string{name, value}), e.data}
}

func (e *sent) binary(t *testing.T, url string) *http.Request {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, url, strings.NewReader(e.data))
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range e.attributes {
		if a[0] == "datacontenttype" {
			r.Header.Add("Content-Type", a[1])
		} else {
			r.Header.Add("Ce-"+a[0], cehttp.Encode(a[1]))
		}
	}
	return r
}

func (e *sent) text() string {
	var members []string
	for _, a := range e.attributes {
		quoted := `"` + a[1] + `"` // bytes that are no UTF-8 stay as they are
		if utf8.ValidString(a[1]) {
			b, _ := json.Marshal(a[1])
			quoted = string(b)
		}
		members = append(members, `"`+a[0]+`":`+quoted)
	}
	return "{" + strings.Join(append(members, `"data":`+e.data), ",") + "}"
}

func (e *sent) structured(t *testing.T, url string) *http.Request {
	t.Helper()
	return jsonRequest(t, url, "application/cloudevents+json", e.text())
}

func (e *sent) batch(t *testing.T, url string) *http.Request {
	t.Helper()
	return jsonRequest(t, url, "application/cloudevents-batch+json", "["+e.text()+"]")
}

func jsonRequest(t *testing.T, url, contentType, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", contentType)
	return r
}

// drawSent draws an event without a subject: one in two has something wrong.
func drawSent(rng *rand.Rand, n int, types []*event.Info) *sent {
	pick := func(list ...string) string { return list[rng.IntN(len(list))] }
	mostly := func(right string, odd ...string) string {
		if rng.IntN(8) > 0 {
			return right
		}
		return pick(odd...)
	}
	info := types[rng.IntN(len(types))]
	e := &sent{data: drawData(rng, info)}
	e = e.with("specversion", "1.0").with("type", info.Type).with("id", fmt.Sprintf("%d%s", n, mostly("", "-é%", " ", "\u200b", "\xff"))).
		with("source", mostly("/p", "https://example.org/a%20b?c", "urn:x:y", "/a b", "%%", "")).
		with("time", mostly("2026-01-01T00:00:00Z", "2026-01-01T00:00:00.123456789+02:00", "1971-01-01T00:00:00Z",
			"1970-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "2999-01-01T00:00:00Z", "2026-01-01T0:00:00Z", "2026-01-01T00:00:00+24:00"))
	if rng.IntN(3) > 0 {
		e = e.with("datacontenttype", mostly("application/json", "Application/JSON; charset=UTF-8", "application/vnd.x+json"))
	}
	for range rng.IntN(3) {
		e = e.with(pick("shop", "partitionkey", "brand", "jurisdiction", "review", "action", "tracestate", "traceparent", "receivedtime"),
			mostly("a", "true", "ü%", "a b", "\x01", strings.Repeat("x", 7000)))
	}
	if rng.IntN(12) == 0 {
		a := e.attributes[rng.IntN(len(e.attributes))]
		e = e.with(a[0], a[1]) // twice
	}
	return e
}

// drawData draws data that is right more often than not.
func drawData(rng *rand.Rand, info *event.Info) string {
	var members []string
	for _, f := range info.Fields {
		if !f.Required && rng.IntN(2) == 0 {
			continue
		}
		value := map[event.Kind]string{event.String: `"x"`, event.Int: "7", event.Bool: "true", event.Time: `"2026-01-01T00:00:00Z"`}[f.Kind]
		switch {
		case f.Enum != nil:
			value = `"` + f.Enum[rng.IntN(len(f.Enum))] + `"`
		case f.Format == "date":
			value = `"1990-01-01"`
		case f.Name == "jurisdiction":
			value = `"GB"`
		case f.Name == "currency":
			value = `"GBP"`
		}
		if rng.IntN(60) == 0 {
			value = []string{"null", "-1.5", `"\u0000"`, "[]", "9007199254740992"}[rng.IntN(5)]
		}
		members = append(members, `"`+f.Name+`":`+value)
	}
	if len(members) > 0 && rng.IntN(40) == 0 {
		members = append(members, members[0])
	}
	return "{" + strings.Join(members, ",") + "}"
}

// folded are the types that change a player's state.
func folded() (types []*event.Info) {
	for _, i := range event.Types() {
		if i.Direction == event.In && i.Type != event.TypePrivacyErase && i.Type != event.TypePrivacyExport {
			types = append(types, i)
		}
	}
	return types
}

func (s *system) post(r *http.Request) int {
	s.t.Helper()
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	res.Body.Close()
	return res.StatusCode
}

// record writes the event into a file of recorded events and replays it: 400 if
// the file is refused, 202 once the Broker has the event.
func (s *system) record(e *sent) int {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "recorded.ndjson")
	if err := os.WriteFile(file, []byte(e.text()+"\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
	_, events, err := dataset.Load(file, 0)
	if err != nil {
		return http.StatusBadRequest
	}
	totals, err := replay.Run(s.t.Context(), replay.Options{Broker: s.url}, func() (*ce.Event, error) {
		if len(events) == 0 {
			return nil, io.EOF
		}
		next := events[0]
		events = events[1:]
		return next, nil
	})
	if err != nil || totals.Accepted != 1 {
		s.t.Errorf("replayed: %+v, %v: %.300s", totals, err, e.text())
	}
	return http.StatusAccepted
}

// store reads players' states; done closes it.
func (s *system) store() (store *player.Store[feature.State], set *feature.Set, done func()) {
	s.t.Helper()
	rdb, err := setup.Redis(context.Background(), s.redis.URL())
	if err != nil {
		s.t.Fatal(err)
	}
	set = shipped.Features(s.t)
	return player.NewStore(rdb, set, player.Config{}), set, func() { rdb.Close() }
}

// state is a player's state as Redis holds it, decoded and encoded again; nil: none.
func (s *system) state(store *player.Store[feature.State], set *feature.Set, id string) []byte {
	s.t.Helper()
	state, version, err := store.Read(context.Background(), id)
	if err != nil {
		s.t.Fatal(err)
	}
	if version == (player.Version{}) {
		return nil
	}
	b, err := set.Append(nil, state)
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

// The same event gets the same verdict, and makes the same state, by every door.
// Refused at a Broker's means: 4xx, or a dead letter and no state.
func TestEveryDoorGivesOneVerdictAndOneState(t *testing.T) {
	s := startSystem(t)
	store, set, done := s.store()
	defer done()
	doors := []struct {
		name string
		send func(*sent) int
	}{
		{"ingest-binary", func(e *sent) int { return s.post(e.binary(t, s.ingest)) }},
		{"ingest-structured", func(e *sent) int { return s.post(e.structured(t, s.ingest)) }},
		{"ingest-batch", func(e *sent) int { return s.post(e.batch(t, s.ingest)) }},
		{"recording", s.record},
		{"broker-binary", func(e *sent) int { return s.post(e.binary(t, s.url)) }},
		{"broker-structured", func(e *sent) int { return s.post(e.structured(t, s.url)) }},
	}
	const answering = 4 // of the doors: those that say at once whether the event counts
	rng := rand.New(rand.NewPCG(17, 4))
	const n = 500
	var statuses [n][6]int
	var players [n][6]string
	var events [n]*sent
	for i := range n {
		events[i] = drawSent(rng, i, folded())
		before := []string{"", "", "", "é%", "\""}[rng.IntN(5)]
		after := []string{"é", " ", "\u00a0", "\x00", "e\u0301", "", "", "", "", "", "", "", "", "", "", ""}[rng.IntN(16)]
		for d, door := range doors {
			players[i][d] = fmt.Sprintf("%sdoor %d %d%s", before, i, d, after)
			statuses[i][d] = door.send(events[i].with("subject", players[i][d]))
		}
	}
	s.quiet()
	taken, refused := 0, 0
	for i := range n {
		var first []byte
		for d, door := range doors {
			state := s.state(store, set, players[i][d])
			status := statuses[i][d]
			if status != 202 && (status < 400 || status > 499) || d < answering && (status == 202) != (state != nil) || status != 202 && state != nil {
				t.Errorf("%s: answered %d, state %v: %.300s", door.name, status, state != nil, events[i].text())
			}
			if d == 0 {
				first = state
			} else if (state == nil) != (first == nil) || !bytes.Equal(state, first) {
				t.Errorf("%s (%d) and %s (%d) differ: %v, %v: %.300s", doors[0].name, statuses[i][0], door.name, status, first != nil, state != nil, events[i].with("subject", players[i][d]).text())
			}
		}
		if first != nil {
			taken++
		} else {
			refused++
		}
	}
	if taken < n/10 || refused < n/10 {
		t.Errorf("%d taken, %d refused: too few of one to prove anything", taken, refused)
	}
}

// What ingest accepts is folded: no attribute that a platform may choose keeps
// an event from the player's state.
func TestWhatIngestAcceptsIsInTheState(t *testing.T) {
	s := startSystem(t)
	store, set, done := s.store()
	defer done()
	rng := rand.New(rand.NewPCG(17, 1))
	pick := func(list ...string) string { return list[rng.IntN(len(list))] }
	accepted := map[string]string{} // player to type
	for i := range 1500 {
		info := folded()[i%len(folded())]
		id := fmt.Sprintf("state-%d", i)
		e := (&sent{data: drawData(rng, info)}).with("specversion", "1.0").with("type", info.Type).with("id", fmt.Sprint(i)).with("subject", id).
			with("source", pick("/p", "/pitboss/gateway", "/pitboss", "//pitboss/x", "pitboss/", "/PITBOSS/x", "http://pitboss-ingest/", "urn:pitboss:profile", "/pitboss%2Fx")).
			with("time", time.Now().Add(-time.Duration(rng.IntN(1e6))*time.Second).UTC().Format(time.RFC3339Nano))
		seen := map[string]bool{}
		for range rng.IntN(5) {
			name := pick("dataschema", "partitionkey", "knativebrokerttl", "knativearrivaltime", "knativeerrorcode", "review", "action", "kind", "brand", "jurisdiction",
				"channel", "traceparent", "tracestate", "receivedtime", "sequence", "pitbossdue", "pitbosscause", "type2")
			if !seen[name] {
				e = e.with(name, pick("0", "1", "true", "x", "http://pitboss-ingest/schemas/x.json", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"))
			}
			seen[name] = true
		}
		request := []func(*testing.T, string) *http.Request{e.binary, e.structured, e.batch}[rng.IntN(3)]
		switch status := s.post(request(t, s.ingest)); {
		case status == 202:
			accepted[id] = info.Type
		case status < 400 || status > 499:
			t.Errorf("answered %d: %s", status, e.text())
		}
	}
	s.quiet()
	of := map[string]int{}
	for id, typ := range accepted {
		of[typ]++
		if s.state(store, set, id) == nil {
			t.Errorf("%s of %s was accepted and is in no state", typ, id)
		}
	}
	for _, info := range folded() {
		if of[info.Type] == 0 {
			t.Errorf("no %s was accepted: nothing is proved", info.Type)
		}
	}
}
