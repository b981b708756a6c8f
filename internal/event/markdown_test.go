package event

import (
	"fmt"
	"strings"
)

// Markdown is the event catalogue as a document: docs/events.md holds it, and
// TestCatalogueIsCurrent writes it and keeps it current.
func Markdown() string {
	var b strings.Builder
	b.WriteString(catalogueHead)
	for _, d := range []struct {
		dir   Direction
		title string
	}{{In, "What platforms and consuming teams send"}, {Internal, "What Pitboss's functions send each other"}, {Out, "What consuming teams receive"}} {
		fmt.Fprintf(&b, "\n## %s\n", d.title)
		for _, i := range Types() {
			if i.Direction == d.dir {
				i.markdown(&b)
			}
		}
	}
	return b.String()
}

func (i *Info) markdown(b *strings.Builder) {
	fmt.Fprintf(b, "\n### %s\n\n%s\n", i.Type, i.Doc)
	if !i.Flat() {
		fmt.Fprintf(b, "\nNested data: see `bin/pitboss schemas %s`.\n", i.Type)
		return
	}
	b.WriteString("\n| field | type | | meaning |\n| --- | --- | --- | --- |\n")
	for _, f := range i.Fields {
		required := ""
		if f.Required {
			required = "required"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", f.Name, f.describe(), required, f.Doc)
	}
}

// describe is the field's type and bounds in a few words.
func (f *Field) describe() string {
	switch {
	case f.Enum != nil:
		return "one of " + strings.Join(f.Enum, ", ")
	case f.Format == "date":
		return "date"
	case f.Kind == Time:
		return "RFC 3339 time"
	case f.Kind == Bool:
		return "true or false"
	}
	kind := "text"
	if f.Kind == Int {
		kind = "integer"
	}
	if f.Pattern == idPattern {
		return fmt.Sprintf("text of at most %d characters, without spaces around it", *f.Max)
	}
	if f.Pattern != "" {
		return kind + " like `" + strings.ReplaceAll(f.Pattern, "|", `\|`) + "`"
	}
	if f.Kind == Int && f.Min != nil {
		kind += fmt.Sprintf(" ≥ %d", *f.Min)
	}
	if f.Max != nil {
		kind += fmt.Sprintf(" ≤ %d", *f.Max)
		if f.Kind == String {
			kind = fmt.Sprintf("text of at most %d characters", *f.Max)
		}
	}
	return kind
}

const catalogueHead = `# Event catalogue

This page lists every event type with its fields, and the rules that all events follow. It is for the engineers of game platforms, who send events, and of consuming teams, who
receive them.

Events are CloudEvents 1.0 over HTTP, in binary or structured mode; ` + "`ingest`" + ` also accepts batches. Every event has these attributes:

| attribute | meaning |
| --- | --- |
| ` + "`id`" + `, ` + "`source`" + ` | the event's identity: together they are unique, and a repeated event is recognised by them |
| ` + "`type`" + ` | one of the types below |
| ` + "`subject`" + ` | the player's id |
| ` + "`time`" + ` | when the event happened (event time, RFC 3339): 1971 or later (a clock that was never set says 1970), and at most 5 minutes ahead of the receiver's clock |
| ` + "`datacontenttype`" + ` | absent, or application/json in UTF-8; other JSON media types (application/…+json) are refused |
| ` + "`partitionkey`" + ` | the player's id; ingest sets it, whatever the sender sets |
| ` + "`traceparent`" + ` | W3C trace context, passed on through every hop |

Money is an integer in minor units with an ISO 4217 currency. Unknown members are ignored.

| limit of | value |
| --- | --- |
| data | 64 KiB, 16 levels of nesting |
| an id, source or subject | 256 bytes |
| attributes, as percent-encoded HTTP headers | 6 KiB |
| a request | 1 MiB |
| a batch | 1,000 events |

An event means the same in every mode and at every entrance (ingest, the Broker, a recording), or is refused at all of them:

- **Ids are compared byte by byte** and never trimmed, folded or normalised. An id, source or subject is refused if it begins or ends with a
  space or an invisible character, or contains a control character. The two Unicode forms of é make two different players. A source is a
  URI reference, in the form in which a URI library prints it.
- **Header values are percent-encoded** in binary mode (CloudEvents HTTP binding, section 3.1.3.2): the player ` + "`renée o`" + ` is
  ` + "`ce-subject: ren%C3%A9e%20o`" + `. Bytes that are not UTF-8, a percent sign without two hexadecimal digits, and a header that occurs twice are refused.
- **JSON is read according to RFC 8259**, and only if it has a single meaning. A member that occurs twice (in any spelling), ` + "`data`" + ` beside
  ` + "`data_base64`" + `, and anything after the event or the batch are refused.
- **Sources that begin with ` + "`/pitboss/`" + ` belong to Pitboss**; ingest refuses them.
- An empty attribute counts as absent.

Knative's own Brokers do not percent-decode. So if you POST to such a Broker in structured mode, without ingest, the
id, source and subject must be printable ASCII without percent signs, double quotes and spaces. Binary mode and ingest accept all values.

Order does not matter within the lateness window (10 minutes unless features.yaml says otherwise): an event may come late, twice, or
after its own rollback. An older event is counted and kept out of the state. Facts about the account, consent and protection are
accepted however late they come; the latest by event time wins.

| answer of ingest | what to do |
| --- | --- |
| 202 | done: the Broker has the event |
| 400, 413, 415 | never send it again: the problem document names the field (for a batch, with the event's index; no event of the batch was accepted) |
| 401 | sign the request or send a token |
| 408, 429, 503 | send the same request again, after Retry-After if the answer has one |

JSON Schemas (2020-12) are at ` + "`GET /schemas/<type>.json`" + ` on ingest, or from ` + "`bin/pitboss schemas <type>`" + `. Each says in its ` + "`$comment`" + ` which rules a JSON Schema cannot check.
An AsyncAPI 3.0 document of all channels is at ` + "`GET /asyncapi`" + `, or from ` + "`bin/pitboss schemas --asyncapi`" + `.
This file is generated: ` + "`go test ./internal/event -run Catalogue -update`" + `.
`
