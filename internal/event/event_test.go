package event_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/go-json-experiment/json"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"

	"pitboss/internal/event"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func newEvent(typ, data string) *ce.Event {
	e := ce.New()
	e.SetID("1")
	e.SetSource("/platform")
	e.SetType(typ)
	e.SetSubject("player-1")
	e.SetTime(now)
	e.SetDataContentType(ce.ApplicationJSON)
	e.DataEncoded = []byte(data)
	return &e
}

const round = `{"game":"g","product":"casino","stake":100,"win":0,"currency":"GBP"}`

func TestParseNamesTheFieldThatIsWrong(t *testing.T) {
	t.Parallel()
	deep := `{"game":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`
	for _, tc := range []struct {
		name    string
		change  func(*ce.Event)
		code    string
		pointer string
	}{
		{"unknown type", func(e *ce.Event) { e.SetType("pitboss.round.invented.v1") }, event.CodeUnknownType, "/type"},
		{"no subject", func(e *ce.Event) { e.SetSubject("") }, event.CodeNoSubject, "/subject"},
		{"no time", func(e *ce.Event) { e.SetTime(time.Time{}) }, event.CodeNoTime, "/time"},
		{"time in the future", func(e *ce.Event) { e.SetTime(now.Add(event.MaxSkew + time.Second)) }, event.CodeFutureTime, "/time"},
		{"long subject", func(e *ce.Event) { e.SetSubject(strings.Repeat("x", 257)) }, event.CodeSchemaViolation, "/subject"},
		{"too large", func(e *ce.Event) { e.DataEncoded = bytes.Repeat([]byte(" "), event.MaxData+1) }, event.CodeTooLarge, "/data"},
		{"too deep", func(e *ce.Event) { e.DataEncoded = []byte(deep) }, event.CodeTooDeep, "/data"},
		{"not JSON", func(e *ce.Event) { e.DataEncoded = []byte(`{"game":`) }, event.CodeSchemaViolation, "/data"},
		{"not an object", func(e *ce.Event) { e.DataEncoded = []byte(`[]`) }, event.CodeSchemaViolation, "/data"},
		{"two objects", func(e *ce.Event) { e.DataEncoded = []byte(round + round) }, event.CodeSchemaViolation, "/data"},
		{"empty", func(e *ce.Event) { e.DataEncoded = nil }, event.CodeSchemaViolation, "/data"},
		{"missing member", func(e *ce.Event) { e.DataEncoded = []byte(`{"game":"g"}`) }, event.CodeSchemaViolation, "/data/product"},
		{"negative stake", func(e *ce.Event) { e.DataEncoded = []byte(strings.Replace(round, "100", "-1", 1)) }, event.CodeSchemaViolation, "/data/stake"},
		{"fractional stake", func(e *ce.Event) { e.DataEncoded = []byte(strings.Replace(round, "100", "1.5", 1)) }, event.CodeSchemaViolation, "/data/stake"},
		{"stake as text", func(e *ce.Event) { e.DataEncoded = []byte(strings.Replace(round, "100", `"100"`, 1)) }, event.CodeSchemaViolation, "/data/stake"},
		{"wrong product", func(e *ce.Event) { e.DataEncoded = []byte(strings.Replace(round, "casino", "kasino", 1)) }, event.CodeSchemaViolation, "/data/product"},
		{"wrong currency", func(e *ce.Event) { e.DataEncoded = []byte(strings.Replace(round, "GBP", "gbp", 1)) }, event.CodeSchemaViolation, "/data/currency"},
		{"twice the same member", func(e *ce.Event) { e.DataEncoded = []byte(strings.Replace(round, `"win"`, `"stake"`, 1)) }, event.CodeSchemaViolation, "/data"},
		{"not JSON by its content type", func(e *ce.Event) { e.SetDataContentType("text/xml") }, event.CodeSchemaViolation, "/datacontenttype"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			e := newEvent(event.TypeRoundSettled, round)
			tc.change(e)
			_, err := event.Parse(e, now)
			var p *event.Problem
			if !errors.As(err, &p) {
				t.Fatalf("got %v, want a Problem", err)
			}
			if p.Code != tc.code || !strings.HasPrefix(p.Pointer, tc.pointer) {
				t.Errorf("got %s at %s (%s), want %s at %s", p.Code, p.Pointer, p.Detail, tc.code, tc.pointer)
			}
			var res *http.Result
			if !errors.As(event.Result(err), &res) || res.StatusCode != 400 {
				t.Errorf("Result is %v, want status 400", event.Result(err))
			}
		})
	}
}

func TestParseReadsTheData(t *testing.T) {
	t.Parallel()
	rec, err := event.Parse(newEvent(event.TypeRoundRolledback,
		`{"round":"r1","settled":"2026-01-02T03:04:00Z","future_field":{"a":[1]},`+round[1:]), now)
	if err != nil {
		t.Fatal(err)
	}
	got := rec.Data.(*event.RoundRolledback)
	if got.Round != "r1" || got.Stake != 100 || got.Currency != "GBP" || !got.Settled.Equal(now.Add(-5*time.Second)) {
		t.Errorf("got %+v", got)
	}
	f, _ := rec.Info.Field("stake")
	if f.Int(rec.Data) != 100 || f.Value(rec.Data) != int64(100) {
		t.Errorf("Field reads %v", f.Value(rec.Data))
	}
}

// What ingest accepted is not of the future for a function whose clock is behind;
// what nobody with a sane clock accepted is.
func TestAFunctionBelievesIngestsClock(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name          string
		ahead         time.Duration // of the event, to the function's clock
		stamp         string
		received      time.Duration
		refused       bool
		refusedAtDoor bool
	}{
		{"equal clocks", event.MaxSkew, event.ExtReceived, 0, false, false},
		{"behind ingest", event.MaxSkew + time.Minute, event.ExtReceived, time.Minute, false, true},
		{"behind the Broker", event.MaxSkew + time.Minute, "knativearrivaltime", time.Minute, false, true},
		{"ahead of ingest", 4 * time.Minute, event.ExtReceived, -time.Hour, false, false},
		{"of the future for both", event.MaxSkew + 2*time.Minute, event.ExtReceived, time.Minute, true, true},
		{"a stamp of the far future", 900 * time.Hour, event.ExtReceived, 900 * time.Hour, true, true},
		{"no stamp", event.MaxSkew + time.Minute, "other", time.Minute, true, true},
	} {
		e := newEvent(event.TypeRoundSettled, round)
		e.SetTime(now.Add(c.ahead))
		e.SetExtension(c.stamp, now.Add(c.received).Format(time.RFC3339Nano))
		if _, err := event.Parse(e, event.Clock(e, now)); (err != nil) != c.refused {
			t.Errorf("%s: behind the Broker %v", c.name, err)
		}
		if _, err := event.Parse(e, now); (err != nil) != c.refusedAtDoor {
			t.Errorf("%s: at the door %v", c.name, err)
		}
	}
}

// The JSON Schema that producers validate with and the parser that refuses
// must agree on any value of any member.
func TestSchemaAndParserAgree(t *testing.T) {
	t.Parallel()
	schemas := compileSchemas(t)
	rapid.Check(t, func(t *rapid.T) {
		flat := rapid.SampledFrom(flatTypes()).Draw(t, "type")
		doc := map[string]any{}
		for _, f := range flat.Fields {
			if v := drawValue(t, f); v != nil {
				doc[f.Name] = v
			}
		}
		body, _ := json.Marshal(doc, json.Deterministic(true))
		parsed, _ := jsonschema.UnmarshalJSON(bytes.NewReader(body))
		bySchema := schemas[flat.Type].Validate(parsed)
		_, byParser := event.Parse(newEvent(flat.Type, string(body)), now)
		if (bySchema == nil) != (byParser == nil) {
			t.Fatalf("%s %s:\nschema: %v\nparser: %v", flat.Type, body, bySchema, byParser)
		}
	})
}

func flatTypes() (out []*event.Info) {
	for _, i := range event.Types() {
		if i.Flat() {
			out = append(out, i)
		}
	}
	return out
}

func compileSchemas(t *testing.T) map[string]*jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	out := map[string]*jsonschema.Schema{}
	for _, i := range event.Types() {
		raw, err := json.Marshal(i.Schema())
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.AddResource("mem://"+i.Type, doc); err != nil {
			t.Fatal(err)
		}
		s, err := c.Compile("mem://" + i.Type)
		if err != nil {
			t.Fatalf("%s: %v", i.Type, err)
		}
		out[i.Type] = s
	}
	return out
}

// drawValue draws a value for the field that is good most of the time, or nil
// to leave it out.
func drawValue(t *rapid.T, f event.Field) any {
	if rapid.IntRange(0, 9).Draw(t, "stray "+f.Name) == 0 {
		return rapid.SampledFrom([]any{nil, nil, true, "", "x", 1.5, -1, 7.0, []any{}, map[string]any{},
			strings.Repeat("é", 200), "2026-13-01", "GBPP", "1e3", 9e15}).Draw(t, "value")
	}
	switch {
	case f.Enum != nil:
		return rapid.SampledFrom(f.Enum).Draw(t, f.Name)
	case f.Format == "date":
		return "1990-02-28"
	case strings.Contains(f.Pattern, "{3}$"):
		return rapid.StringMatching(`[A-Z]{3}`).Draw(t, f.Name)
	case f.Pattern != "":
		return rapid.StringMatching(f.Pattern).Draw(t, f.Name)
	}
	switch f.Kind {
	case event.Int:
		return rapid.Int64Range(1, 1000).Draw(t, f.Name)
	case event.Bool:
		return rapid.Bool().Draw(t, f.Name)
	case event.Time:
		return now.Format(time.RFC3339)
	}
	return rapid.StringMatching(`[a-z"\\é]{1,20}`).Draw(t, f.Name)
}

func TestReplyIsTheSameForTheSameInput(t *testing.T) {
	t.Parallel()
	in := newEvent(event.TypeRoundSettled, round)
	in.SetExtension(event.ExtTraceparent, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	in.SetExtension("knativearrivaltime", "2026-01-02T03:04:05.1Z")
	first, err := event.Reply(in, "profile", event.TypePlayerUpdated, now, map[string]int{"a": 1})
	if err != nil {
		t.Fatal(err)
	}
	second, _ := event.Reply(in, "profile", event.TypePlayerUpdated, now, map[string]int{"a": 1})
	if first.String() != second.String() {
		t.Errorf("two replies to one event differ:\n%s\n%s", first, second)
	}
	for name, want := range map[string]string{
		event.ExtTraceparent:  "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		event.ExtPartitionKey: "player-1",
		event.ExtReceived:     "2026-01-02T03:04:05.1Z",
	} {
		if got := fmt.Sprint(first.Extensions()[name]); got != want {
			t.Errorf("extension %s is %q, want %q", name, got, want)
		}
	}
	if err := first.Validate(); err != nil {
		t.Error(err)
	}
	other := newEvent(event.TypeRoundSettled, round)
	other.SetID("2")
	if third, _ := event.Reply(other, "profile", event.TypePlayerUpdated, now, nil); third.ID() == first.ID() {
		t.Error("replies to different events have the same id")
	}
}

func FuzzParse(f *testing.F) {
	for _, i := range event.Types() {
		f.Add(i.Type, []byte(round))
	}
	f.Add(event.TypeRoundSettled, []byte(`{"game":"\u0000","stake":1e400}`))
	f.Fuzz(func(t *testing.T, typ string, data []byte) {
		rec, err := event.Parse(newEvent(typ, string(data)), now)
		if err != nil && !event.IsPermanent(err) {
			t.Fatalf("bad input must be permanent, got %v", err)
		}
		if err == nil && rec.Data == nil {
			t.Fatal("accepted without data")
		}
	})
}

func BenchmarkParse(b *testing.B) {
	events := make([]*ce.Event, 64)
	for i := range events {
		events[i] = newEvent(event.TypeRoundSettled, strings.Replace(round, "100", fmt.Sprint(100+i), 1))
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := event.Parse(events[i&63], now); err != nil {
			b.Fatal(err)
		}
	}
}
