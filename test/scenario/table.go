package scenario

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
)

// reply answers with an event in binary mode.
func reply(typ string, pairs ...string) func(http.ResponseWriter, Received, int) {
	return func(w http.ResponseWriter, e Received, _ int) {
		h := w.Header()
		h.Set("Ce-Specversion", "1.0")
		h.Set("Ce-Id", "reply-to-"+e.Attributes["id"])
		h.Set("Ce-Type", typ)
		h.Set("Ce-Source", "/subscriber")
		for i := 0; i < len(pairs); i += 2 {
			h.Set(pairs[i], pairs[i+1])
		}
		w.WriteHeader(http.StatusOK)
	}
}

// status answers the first n attempts with code and body, then 200.
func status(n, code int, body string) func(http.ResponseWriter, Received, int) {
	return func(w http.ResponseWriter, _ Received, nth int) {
		if nth <= n {
			w.WriteHeader(code)
			io.WriteString(w, body)
		}
	}
}

func onType(typ string) string { return "filter: {attributes: {type: " + typ + "}}" }

const (
	// The trace of scenarios whose events belong to one.
	postedTrace       = "0af7651916cd43dd8448eb211c80319c"
	postedTraceparent = "00-" + postedTrace + "-b7ad6b7169203331-01"

	retry2 = "delivery: {retry: 2, backoffPolicy: linear, backoffDelay: PT0.1S, deadLetterSink: {uri: DEAD}}"
	dead   = "delivery: {deadLetterSink: {uri: DEAD}}"
)

// Table lists all scenarios.
func Table() []Scenario {
	return slices.Concat(filters(), replies(), failures(), ingress())
}

func filters() []Scenario {
	abc := []Post{event("1", "a"), event("2", "b"), event("3", "c", "Ce-Kind", "service"), event("4", "a.long", "Ce-Kind", "marketing", "Ce-Subject", "player-1")}
	return []Scenario{
		{Name: "no-filter", Triggers: []Trigger{{Name: "all"}}, Posts: abc},
		{Name: "exact-type", Triggers: []Trigger{{Name: "a", Spec: onType("a")}, {Name: "b", Spec: onType("b")}, {Name: "none", Spec: onType("z")}}, Posts: abc},
		{Name: "exact-extension", Triggers: []Trigger{{Name: "service", Spec: "filter: {attributes: {kind: service}}"}, {Name: "both", Spec: "filter: {attributes: {kind: marketing, type: a.long}}"}}, Posts: abc},
		{Name: "absent-attribute", Triggers: []Trigger{{Name: "x", Spec: "filter: {attributes: {brand: blue}}"}, {Name: "any", Spec: `filter: {attributes: {kind: ""}}`}}, Posts: abc},
		{Name: "exact-subject", Triggers: []Trigger{{Name: "x", Spec: "filter: {attributes: {subject: player-1}}"}}, Posts: abc},
		{Name: "filters-prefix-suffix", Triggers: []Trigger{{Name: "p", Spec: "filters: [{prefix: {type: a}}]"}, {Name: "s", Spec: "filters: [{suffix: {type: long}}]"}}, Posts: abc},
		{Name: "filters-not-any-all", Triggers: []Trigger{
			{Name: "not", Spec: "filters: [{not: {exact: {type: a}}}]"},
			{Name: "any", Spec: "filters: [{any: [{exact: {type: a}}, {exact: {type: b}}]}]"},
			{Name: "all", Spec: "filters: [{all: [{prefix: {type: a}}, {exact: {kind: marketing}}]}]"},
			{Name: "two", Spec: "filters: [{prefix: {type: a}}, {suffix: {type: long}}]"}}, Posts: abc},
		{Name: "filters-cesql", Triggers: []Trigger{{Name: "q", Spec: `filters: [{cesql: "type = 'a' OR kind = 'service'"}]`}}, Posts: abc},
		{Name: "filters-beat-filter", Triggers: []Trigger{{Name: "x", Spec: "filter: {attributes: {type: a}}\nfilters: [{exact: {type: b}}]"}}, Posts: abc},
		{Name: "number-as-text", Triggers: []Trigger{{Name: "x", Spec: `filter: {attributes: {count: "7"}}`}}, Posts: []Post{
			structured(`{"specversion":"1.0","id":"1","source":"/s","type":"t","count":7}`), event("2", "t", "Ce-Count", "7")}},
	}
}

func structured(body string) Post {
	return Post{Header: map[string]string{"Content-Type": "application/cloudevents+json"}, Body: body}
}

func replies() []Scenario {
	return []Scenario{
		{Name: "reply", Triggers: []Trigger{{Name: "first", Spec: onType("first"), Answer: reply("second", "Ce-Action", "call", "Ce-Traceparent", postedTraceparent)}, {Name: "second", Spec: onType("second")}},
			Posts: []Post{event("1", "first")}},
		{Name: "reply-chain", Triggers: []Trigger{{Name: "one", Spec: onType("one"), Answer: reply("two")}, {Name: "two", Spec: onType("two"), Answer: reply("three")}, {Name: "three", Spec: onType("three")}},
			Posts: []Post{event("1", "one"), event("2", "one")}},
		{Name: "reply-structured", Triggers: []Trigger{{Name: "first", Spec: onType("first"), Answer: func(w http.ResponseWriter, e Received, _ int) {
			w.Header().Set("Content-Type", "application/cloudevents+json")
			fmt.Fprintf(w, `{"specversion":"1.0","id":"r-%s","source":"/subscriber","type":"second","datacontenttype":"application/json","data":{"x":[1,2]}}`, e.Attributes["id"])
		}}, {Name: "second", Spec: onType("second")}}, Posts: []Post{event("1", "first")}},
		{Name: "reply-without-content-type", Triggers: []Trigger{{Name: "first", Spec: onType("first"), Answer: func(w http.ResponseWriter, _ Received, _ int) {
			w.Header().Set("Content-Type", "application/cloudevents+json")
			io.WriteString(w, `{"specversion":"1.0","id":"r","source":"/subscriber","type":"second","data":{"x":[1,2]}}`)
		}}, {Name: "second", Spec: onType("second")}}, Posts: []Post{event("1", "first")},
			Known: "Knative's filter answers without a content type, so Go guesses text/plain; here none is made up"},
		{Name: "reply-202-empty", Triggers: []Trigger{{Name: "x", Answer: status(99, http.StatusAccepted, "")}}, Posts: []Post{event("1", "t")}},
		{Name: "reply-loop", Triggers: []Trigger{{Name: "loop", Spec: dead, Answer: reply("t")}}, Posts: []Post{event("1", "t", "Ce-Knativebrokerttl", "4")}},
		{Name: "reply-without-id", Triggers: []Trigger{{Name: "x", Spec: onType("first") + "\n" + dead, Answer: func(w http.ResponseWriter, _ Received, _ int) {
			w.Header().Set("Ce-Specversion", "1.0")
			w.Header().Set("Ce-Type", "second")
			w.WriteHeader(http.StatusOK)
		}}, {Name: "second", Spec: onType("second")}}, Posts: []Post{event("1", "first")}},
		{Name: "reply-no-event", Triggers: []Trigger{{Name: "x", Spec: retry2, Answer: status(99, http.StatusOK, "hello")}}, Posts: []Post{event("1", "t")},
			Known: "Knative's filter answers 502 with an empty body, from which its channel can make no knativeerror… attributes; here the dead letter has them"},
	}
}

func failures() []Scenario {
	one := []Post{event("1", "t", "Ce-Subject", "player-1")}
	s := []Scenario{
		{Name: "retry-then-success", Triggers: []Trigger{{Name: "x", Spec: retry2, Answer: status(2, 503, "busy")}}, Posts: one},
		{Name: "retries-exhausted", Triggers: []Trigger{{Name: "x", Spec: retry2, Answer: status(99, 500, "broken")}, {Name: "other"}}, Posts: one},
		{Name: "permanent-400", Triggers: []Trigger{{Name: "x", Spec: retry2, Answer: status(99, 400, "schema-violation at /data/stake: must be at least 0")}}, Posts: one},
		{Name: "broker-delivery", Delivery: retry2, Triggers: []Trigger{{Name: "x", Answer: status(99, 500, "")}}, Posts: one},
		{Name: "broker-dead-letter-sink", Delivery: dead, Triggers: []Trigger{{Name: "x", Answer: status(99, 500, "no")}}, Posts: one},
		{Name: "no-dead-letter-sink", Triggers: []Trigger{{Name: "x", Spec: "delivery: {retry: 1, backoffPolicy: linear, backoffDelay: PT0.1S}", Answer: status(99, 400, "")}}, Posts: one,
			Known: "the in-memory channel answers the sender with the failure; here the event was acknowledged before it was delivered, and is kept as a dead letter"},
		{Name: "long-error-body", Triggers: []Trigger{{Name: "x", Spec: dead, Answer: status(99, 400, strings.Repeat("0123456789", 200))}}, Posts: one,
			Alone: "an error body over 768 bytes makes Knative v0.50.0's in-memory channel dispatcher panic (kncloudevents/event_dispatcher.go:593)"},
		{Name: "nobody-listens", Triggers: []Trigger{{Name: "x", Spec: dead, Down: true}}, Posts: one},
		{Name: "dead-letter-keeps-event", Triggers: []Trigger{{Name: "x", Spec: dead, Answer: status(99, 400, "no")}}, Posts: []Post{
			event("1", "t", "Ce-Action", "call", "Ce-Partitionkey", "player-1", "Ce-Time", "2026-01-02T03:04:05.678Z", "Ce-Dataschema", "https://schemas.example/t.json", "Content-Type", "text/plain").with("plain text")}},
	}
	for _, code := range []int{301, 404, 405, 408, 409, 415, 429, 502} {
		s = append(s, Scenario{Name: fmt.Sprintf("status-%d", code), Triggers: []Trigger{{Name: "x", Spec: retry2, Answer: status(1, code, "")}}, Posts: one})
	}
	return s
}

func ingress() []Scenario {
	all := []Trigger{{Name: "all"}}
	trace := []string{"Ce-Traceparent", postedTraceparent, "Ce-Tracestate", "vendor=1"}
	return []Scenario{
		{Name: "extensions-kept", Triggers: all, Posts: []Post{event("1", "t", append(trace, "Ce-Partitionkey", "player-1", "Ce-Subject", "player-1", "Ce-Text", "tv%C3%A5%20ord", "Ce-Receivedtime", "2026-01-02T03:04:05.000000006Z", "Ce-Dataschema", "https://schemas.example/t.json", "Ce-Time", "2026-01-02T03:04:05.678+02:00")...)}},
		{Name: "structured-in", Triggers: all, Posts: []Post{
			structured(`{"specversion":"1.0","id":"1","source":"/s","type":"t","subject":"p","time":"2026-01-02T03:04:05Z","flag":true,"count":-3,"datacontenttype":"application/json","data":{"a":"b"}}`),
			structured(`{"specversion":"1.0","id":"2","source":"/s","type":"t","datacontenttype":"application/octet-stream","data_base64":"AAEC/w=="}`)}},
		{Name: "json-out", OverHTTP: "a function in the Broker's process gets an event, which has no format", Triggers: []Trigger{{Name: "all", Spec: "delivery: {format: json}"}}, Posts: []Post{event("1", "t")}},
		{Name: "data-verbatim", Triggers: all, Posts: []Post{
			event("1", "t").with("{\n  \"b\": 1.50,\n  \"a\": \"ü\"\n}"), event("2", "t", "Content-Type", "application/octet-stream").with("\x00\x01\xff\xfe"), event("3", "t", "Content-Type", "").with("")}},
		{Name: "passed-headers", OverHTTP: "a function in the Broker's process gets an event and no headers", Triggers: all, Posts: []Post{event("1", "t", "X-Request-Id", "r-1", "X-B3-Traceid", "abc", "Knative-Test", "yes", "X-Other", "dropped")}},
		{Name: "ttl", Triggers: all, Posts: []Post{event("1", "t", "Ce-Knativebrokerttl", "0"), event("2", "t", "Ce-Knativebrokerttl", "1"), event("3", "t", "Ce-Knativebrokerttl", "2"), event("4", "t", "Ce-Knativebrokerttl", "x")}},
		{Name: "bad-input", Triggers: all, Posts: []Post{
			event("1", "t", "Ce-Specversion", ""), event("", "t"), event("1", ""), event("1", "t", "Ce-Source", ""), event("1", "t", "Ce-Time", "yesterday"), event("1", "t", "Ce-Specversion", "7.0"),
			structured(`{"specversion":"1.0","id":"1"`), structured(`[]`), structured(``), {Method: "PUT", Header: event("1", "t").Header}, {Method: "GET"}}},
		{Name: "cloudevents-03", Triggers: all, Posts: []Post{event("1", "t", "Ce-Specversion", "0.3", "Ce-Schemaurl", "/s.json")}},
		{Name: "same-id-twice", Triggers: all, Posts: []Post{event("1", "t"), event("1", "t")}},
	}
}
