package cehttp_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"pgregory.net/rapid"

	"pitboss/internal/cehttp"
	"pitboss/internal/event"
)

func headers(pairs ...string) http.Header {
	h := http.Header{"Ce-Specversion": {"1.0"}, "Ce-Id": {"1"}, "Ce-Source": {"/p"}, "Ce-Type": {"t"}, "Content-Type": {"application/json"}}
	for i := 0; i < len(pairs); i += 2 {
		h[pairs[i]] = append(h[pairs[i]], pairs[i+1])
	}
	return h
}

func pointers(err error) (out []string) {
	var all cehttp.Problems
	var one *event.Problem
	switch {
	case errors.As(err, &all):
		for _, p := range all {
			out = append(out, p.Pointer)
		}
	case errors.As(err, &one):
		out = append(out, one.Pointer)
	}
	return out
}

func TestHeadersAreEncodedAsTheBindingSays(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"plain-ASCII_~!#$&'()*+,/:;=?@[]{}|\\^`<>": "plain-ASCII_~!#$&'()*+,/:;=?@[]{}|\\^`<>",
		"Euro € 😀": "Euro%20%E2%82%AC%20%F0%9F%98%80", // the binding's own example
		`"quoted"`: "%22quoted%22", "100%": "100%25", "a%20b": "a%2520b", "": "",
	} {
		if got := cehttp.Encode(value); got != want {
			t.Errorf("%q became %q, want %q", value, got, want)
		}
		if back, err := cehttp.Decode(want); err != nil || back != value {
			t.Errorf("%q was read as %q (%v), want %q", want, back, err, value)
		}
	}
	for header, want := range map[string]string{`"two words"`: "two words", `"a \"b\" \\"`: `a "b" \`, `"50%25"`: "50%", "as it is: é": "as it is: é", "%c3%a9": "é", `""`: ""} {
		if got, err := cehttp.Decode(header); err != nil || got != want {
			t.Errorf("%q was read as %q (%v), want %q", header, got, err, want)
		}
	}
	for _, bad := range []string{"%", "%4", "%zz", "100%", "a%FFb", "a\xffb", `"open`, `a"b`, `"a"b`, `"a\`} {
		if got, err := cehttp.Decode(bad); err == nil {
			t.Errorf("%q was read as %q", bad, got)
		}
	}
}

func TestWhatIsNoEventIsRefusedWithTheField(t *testing.T) {
	t.Parallel()
	one := func(members string) string {
		return `{"specversion":"1.0","id":"1","source":"/p","type":"t"` + members + `}`
	}
	for _, tc := range []struct {
		name    string
		header  http.Header
		body    string
		pointer string
	}{
		{"no percent-encoding", headers("Ce-Subject", "100%"), "", "/subject"},
		{"no UTF-8 once decoded", headers("Ce-Subject", "a%FFb"), "", "/subject"},
		{"no UTF-8 as it stands", headers("Ce-Subject", "a\xffb"), "", "/subject"},
		{"a line feed, encoded", headers("Ce-Subject", "a%0Ab"), "", "/subject"},
		{"a space before", headers("Ce-Subject", "%20a"), "", "/subject"},
		{"a no-break space behind", headers("Ce-Subject", "a%C2%A0"), "", "/subject"},
		{"a zero-width space behind", headers("Ce-Subject", "a%E2%80%8B"), "", "/subject"},
		{"a noncharacter", headers("Ce-Shop", "a%EF%BF%BF"), "", "/shop"},
		{"an id twice", headers("Ce-Id", "2"), "", "/id"},
		{"an id twice, the same", headers("Ce-Id", "1"), "", "/id"},
		{"an extension twice", headers("Ce-Shop", "a", "Ce-Shop", "b"), "", "/shop"},
		{"content type twice", headers("Content-Type", "application/json"), "", "/datacontenttype"},
		{"content type as an attribute", headers("Ce-Datacontenttype", "text/plain"), "", "/datacontenttype"},
		{"data as an attribute", headers("Ce-Data", "x"), "", "/data"},
		{"an underscore", headers("Ce-A_b", "x"), "", "/a_b"},
		{"hour of one digit", headers("Ce-Time", "2026-01-02T3:04:05Z"), "", "/time"},
		{"offset of 24 hours", headers("Ce-Time", "2026-01-02T03:04:05+24:00"), "", "/time"},
		{"a leap second", headers("Ce-Time", "2016-12-31T23:59:60Z"), "", "/time"},
		{"30 February", headers("Ce-Time", "2026-02-30T00:00:00Z"), "", "/time"},
		{"relative schema", headers("Ce-Dataschema", "/s"), "", "/dataschema"},
		{"no specversion", http.Header{"Ce-Id": {"1"}, "Ce-Source": {"/p"}, "Ce-Type": {"t"}}, "", "/specversion"},
		{"no headers", http.Header{"Content-Type": {"application/json"}}, "{}", ""},
		{"avro", http.Header{"Content-Type": {"application/cloudevents+avro"}}, "", "/datacontenttype"},
		{"Latin-1", http.Header{"Content-Type": {"application/cloudevents+json; charset=latin1"}}, one(""), "/datacontenttype"},
		{"subject twice", nil, one(`,"subject":"a","subject":"b"`), "/subject"},
		{"id twice, one escaped", nil, one(`,"\u0069d":"2"`), "/id"},
		{"data twice", nil, one(`,"data":1,"data":2`), "/data"},
		{"a member of data twice", nil, one(`,"data":{"a":1,"a":2}`), "/data/a"},
		{"data and data_base64", nil, one(`,"data":1,"data_base64":"MQ=="`), "/data_base64"},
		{"no base64", nil, one(`,"data_base64":"M"`), "/data_base64"},
		{"base64 in lines", nil, one(`,"data_base64":"MQ\n=="`), "/data_base64"},
		{"a second event", nil, one("") + one(""), ""},
		{"rubbish behind", nil, one("") + "x", ""},
		{"a byte order mark", nil, "\ufeff" + one(""), ""},
		{"a number for the id", nil, `{"specversion":"1.0","id":1,"source":"/p","type":"t"}`, "/id"},
		{"an upper-case name", nil, one(`,"Subject":"a"`), "/Subject"},
		{"a fraction", nil, one(`,"shop":1.5`), "/shop"},
		{"33 bits", nil, one(`,"shop":4294967296`), "/shop"},
		{"an object", nil, one(`,"shop":{}`), "/shop"},
		{"a lone surrogate", nil, one(`,"subject":"\ud800"`), "/subject"},
		{"a source that is written in two ways", nil, strings.Replace(one(""), `"/p"`, `"/spé"`, 1), "/source"},
		{"contradicts its header", headers("Ce-Subject", "b"), "structured" + one(`,"subject":"a"`), "/subject"},
		{"cut off", nil, one("")[:30], ""},
		{"CloudEvents 0.3", nil, strings.Replace(one(""), "1.0", "0.3", 1), "/specversion"},
	} {
		h, body := tc.header, tc.body
		if rest, ok := strings.CutPrefix(body, "structured"); ok {
			body = rest
			h["Content-Type"] = []string{"application/cloudevents+json"}
		}
		if h == nil {
			h = http.Header{"Content-Type": {"application/cloudevents+json"}}
			if _, err := cehttp.ReadBatch([]byte("["+body+"]"), 9); err == nil || !event.IsPermanent(err) {
				if tc.name != "a second event" && tc.name != "rubbish behind" {
					t.Errorf("%s: a batch is %v", tc.name, err)
				}
			}
		}
		m, err := cehttp.Read(h, []byte(body))
		if err == nil || !event.IsPermanent(err) || len(pointers(err)) != 1 || pointers(err)[0] != tc.pointer {
			t.Errorf("%s: got %v, %v (%v), want %q", tc.name, m, err, pointers(err), tc.pointer)
		}
	}
}

func TestBatch(t *testing.T) {
	t.Parallel()
	one := func(id string) string {
		return `{"specversion":"1.0","id":"` + id + `","source":"/p","type":"t","data":{}}`
	}
	for body, want := range map[string][]string{
		"": {""}, "{}": {""}, "[]": {""}, "[" + one("1") + "]" + "[]": {""}, "[" + one("1") + "]x": {""}, "[" + one("1"): {"/1"},
		"[" + one("1") + "," + one("") + ",7," + one(" ") + "]":      {"/1/id", "/2", "/3/id"},
		"[" + one("1") + `,{"specversion":"1.0","specversion":"2"}]`: {"/1/specversion"},
		"[" + strings.Repeat(one("1")+",", 4) + one("1") + "]":       {""},
	} {
		if list, err := cehttp.ReadBatch([]byte(body), 4); err == nil || !slices.Equal(pointers(err), want) {
			t.Errorf("%s: %v, %v (%q), want %q", body, list, err, pointers(err), want)
		}
	}
	list, err := cehttp.ReadBatch([]byte(" [ "+one("1")+" , "+one("2")+" ] "), 3)
	if err != nil || len(list) != 2 || list[1].Attribute("id") != "2" || string(list[1].Data) != "{}" {
		t.Errorf("%v %v", list, err)
	}
}

func TestMediaTypesCompareWithoutCaseAndWithParameters(t *testing.T) {
	t.Parallel()
	for contentType, want := range map[string]cehttp.Mode{
		"Application/CloudEvents+JSON": cehttp.Structured, "application/cloudevents+json ; charset=\"UTF-8\"": cehttp.Structured,
		"APPLICATION/cloudevents-BATCH+json;charset=utf-8": cehttp.Batch, "application/json": cehttp.Binary, "": cehttp.Binary,
	} {
		h := headers()
		h["Content-Type"] = []string{contentType}
		if got, err := cehttp.ModeOf(h); err != nil || got != want {
			t.Errorf("%q: %v, %v", contentType, got, err)
		}
	}
}

// values are drawn for attributes: mostly unlike each other, some wrong.
var texts = rapid.OneOf(rapid.StringMatching(`[a-zé€😀%" ~-]{1,12}`), rapid.String(),
	rapid.SampledFrom([]string{"", "a", " a", "a ", "a%20b", `"a"`, "%", "\x00", "\u200b", "a\u0301", "\u00e1", "1", "true"}))

func drawEvent(t *rapid.T) *ce.Event {
	c := &ce.EventContextV1{ID: texts.Draw(t, "id"), Type: texts.Draw(t, "type"), Extensions: map[string]any{}}
	c.Source, _ = event.ParseSource(rapid.SampledFrom([]string{"/p", "https://example.org/a?b=%22c#d", "urn:x", "//host/a%20b"}).Draw(t, "source"))
	subject := texts.Draw(t, "subject")
	c.Subject = &subject
	for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"shop", "brand", "tracestate", "partitionkey", "x1"}), 0, 3, rapid.ID).Draw(t, "names") {
		c.Extensions[name] = texts.Draw(t, name)
	}
	_ = c.SetTime(rapid.SampledFrom([]time.Time{time.Unix(1, 5).UTC(), time.Date(2026, 1, 2, 3, 4, 5, 678, time.UTC)}).Draw(t, "time"))
	_ = c.SetDataContentType(rapid.SampledFrom([]string{"application/json", "text/plain"}).Draw(t, "datacontenttype"))
	return &ce.Event{Context: c, DataEncoded: []byte(rapid.SampledFrom([]string{`{"a":"é"}`, "1", `"x"`, "not JSON"}).Draw(t, "data"))}
}

// The same event is the same, or refused for the same attributes, in binary
// mode (through a real server and client), structured mode and a batch.
func TestEveryModeReadsTheSame(t *testing.T) {
	t.Parallel()
	var got *cehttp.Message
	var gotErr error
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body := make([]byte, r.ContentLength)
		_, _ = r.Body.Read(body)
		got, gotErr = cehttp.Read(r.Header, body)
	}))
	t.Cleanup(s.Close)
	taken, refused := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		e := drawEvent(t)
		text := cehttp.AppendJSON(nil, e)
		structured, errS := cehttp.ReadJSON(text)
		batch, errB := cehttp.ReadBatch(fmt.Appendf(nil, "[%s]", text), 1)
		req, err := cehttp.NewRequest(t.Context(), s.URL, e)
		if err != nil {
			t.Fatal(err)
		}
		res, err := s.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		want := slices.Sorted(slices.Values(pointers(errS)))
		if p := pointers(gotErr); !slices.Equal(p, want) {
			t.Fatalf("%s: binary %q, structured %q", text, p, want)
		}
		for i, p := range pointers(errB) {
			if p != "/0"+pointers(errS)[i] {
				t.Fatalf("%s: batch %q, structured %q", text, pointers(errB), pointers(errS))
			}
		}
		if errS != nil {
			refused++
			return
		}
		taken++
		if b, s, n := sorted(got), sorted(structured), sorted(batch[0]); b != s || s != n || s != sorted(cehttp.MessageOf(structured.Event())) {
			t.Fatalf("%s:\nbinary     %s\nstructured %s\nbatch      %s", text, b, s, n)
		}
		if !bytes.Equal(structured.Data, e.Data()) || structured.Attribute("id") != e.ID() || structured.Attribute("subject") != e.Subject() {
			t.Fatalf("%s became %v", text, structured)
		}
	})
	if taken == 0 || refused == 0 {
		t.Errorf("%d taken, %d refused: too few of one to prove anything", taken, refused)
	}
}

func sorted(m *cehttp.Message) string {
	all := map[string]string{}
	for i := 0; i < len(m.Attributes); i += 2 {
		all[m.Attributes[i]] = m.Attributes[i+1]
	}
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&b, "%s=%q ", name, all[name])
	}
	return b.String() + string(m.Data)
}

func FuzzReadJSON(f *testing.F) {
	f.Add([]byte(`{"specversion":"1.0","id":"1","source":"/p","type":"t","time":"2026-01-02T15:04:05Z","data":{"a":1}}`))
	f.Add([]byte(`{"specversion":"1.0","\u0069d":"1","source":"/p","type":"t","data_base64":"MQ==","n":5,"b":true,"z":null}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := cehttp.ReadJSON(text)
		list, errBatch := cehttp.ReadBatch(slices.Concat([]byte("["), text, []byte("]")), 1)
		if err == nil && (errBatch != nil || sorted(list[0]) != sorted(m)) {
			t.Fatalf("%q: alone %v; in a batch %v", text, sorted(m), errBatch)
		}
		same(t, m, err)
	})
}

func FuzzReadBinary(f *testing.F) {
	f.Add("1.0", "1", "/p", "t", "2026-01-02T15:04:05Z", "application/json", "Ce-Shop", "%C3%A9", []byte("{}"))
	f.Add("1.0", `"1"`, "/p", "t", "2026-01-02T15:04:05Z", "text/plain; charset=utf-8", "Ce-A_b", "%", []byte(""))
	f.Fuzz(func(t *testing.T, version, id, source, typ, when, contentType, name, value string, body []byte) {
		h := http.Header{"Ce-Specversion": {version}, "Ce-Id": {id}, "Ce-Source": {source}, "Ce-Type": {typ}, "Ce-Time": {when}, "Content-Type": {contentType}}
		h[name] = append(h[name], value)
		m, err := cehttp.Read(h, body)
		same(t, m, err)
	})
}

// same: whatever was taken is valid, and is the same when it is written and
// read again; whatever was not is the sender's fault.
func same(t *testing.T, m *cehttp.Message, err error) {
	t.Helper()
	if err != nil {
		if !event.IsPermanent(err) || len(pointers(err)) == 0 {
			t.Fatalf("refused with %v", err)
		}
		return
	}
	e := m.Event()
	if err := e.Validate(); err != nil {
		t.Fatalf("%v: %v", m, err)
	}
	want := sorted(cehttp.MessageOf(e))
	h := http.Header{}
	cehttp.WriteHeader(h, e)
	again, err := cehttp.Read(h, m.Data)
	if err != nil || sorted(again) != want {
		t.Fatalf("%q became %v (%v)", want, again, err)
	}
}

func BenchmarkReadBinary(b *testing.B) {
	h := headers("Ce-Subject", "player-4711", "Ce-Time", "2026-01-02T15:04:05.123Z", "Ce-Partitionkey", "player-4711", "Ce-Dataschema", "http://pitboss-ingest/schemas/t.json",
		"Ce-Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", "Ce-Receivedtime", "2026-01-02T15:04:05.123Z")
	b.ReportAllocs()
	for b.Loop() {
		m, err := cehttp.Read(h, nil)
		if err != nil {
			b.Fatal(err)
		}
		_ = m.Event()
	}
}
