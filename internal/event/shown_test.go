package event_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"

	ce "github.com/cloudevents/sdk-go/v2/event"
	strict "github.com/go-json-experiment/json"
	"pgregory.net/rapid"

	"pitboss/internal/event"
)

// Whatever the data, its content type and the attributes are, an event that is
// shown is one JSON document, and reading it gives the same bytes of data.
func TestShownIsAlwaysJSON(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		e := ce.New(rapid.SampledFrom([]string{"1.0", "0.3"}).Draw(t, "version"))
		e.SetID("1")
		e.SetType("t")
		e.SetSource("/s")
		e.SetSubject("x" + rapid.String().Draw(t, "subject"))
		if ct := rapid.SampledFrom([]string{"", "application/json", "APPLICATION/JSON; charset=utf-8", "text/json", "application/vnd.x+json",
			"text/plain", "application/octet-stream", "application/gzip"}).Draw(t, "type"); ct != "" {
			e.SetDataContentType(ct)
		}
		data := rapid.OneOf(rapid.SliceOfN(rapid.Byte(), 1, 40),
			rapid.Map(rapid.SampledFrom([]string{`{"a":1,"a":2}`, `{"a":"\ud800"}`, `{} {}`, `nul`, `{"a":`, `1`, `"x"`, "\xff\"", ` {"a": 1} `}),
				func(s string) []byte { return []byte(s) })).Draw(t, "data")
		e.DataEncoded = data
		text, err := json.Marshal(event.Shown(e))
		if err != nil {
			t.Fatalf("%q: %v", data, err)
		}
		if _, err := strict.Marshal(map[string]any{"event": event.Shown(e)}); err != nil {
			t.Fatalf("%q, strictly: %v", data, err)
		}
		var back ce.Event
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if !bytes.Equal(bytes.TrimSpace(back.Data()), bytes.TrimSpace(data)) && !sameJSON(back.Data(), data) {
			t.Fatalf("%s gives %q, want %q", text, back.Data(), data)
		}
	})
}

// sameJSON: encoding/json takes spaces out of what it embeds, and escapes <, > and &.
func sameJSON(a, b []byte) bool {
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}
