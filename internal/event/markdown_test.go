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

CloudEvents 1.0 over HTTP, binary or structured mode; ` + "`ingest`" + ` takes batches too. Every event names:

| attribute | meaning |
| --- | --- |
| ` + "`id`, `source`" + ` | the event's identity: unique together, and what a repeated event is recognised by |
| ` + "`type`" + ` | one of the types below |
| ` + "`subject`" + ` | the player's id |
| ` + "`time`" + ` | when it happened (event time, RFC 3339), of 1971 or later (a clock that was never set says 1970), at most 5 minutes ahead of the receiver's clock |
| ` + "`datacontenttype`" + ` | absent, or application/json in UTF-8; other media types of JSON (application/…+json) are refused |
| ` + "`partitionkey`" + ` | the player's id; ingest sets it, whatever the sender sets |
| ` + "`traceparent`" + ` | W3C trace context, carried through every hop |

Money is an integer in minor units with an ISO 4217 currency. Unknown members are ignored. Limits: 64 KiB of data, 16 levels of
nesting, 256 bytes of an id, source or subject, 6 KiB of attributes (as HTTP headers, percent-encoded), 1 MiB a request, 1,000 events a batch.

An event means the same in every mode and by every door (ingest, the Broker, a recording), or is refused by all of them:

- **Ids are compared byte by byte** and never trimmed, folded or normalised. An id, source or subject that begins or ends with a
  space or an invisible character, or has a control character, is refused; é in its two Unicode forms makes two players. A source is a
  URI reference in the form in which a URI library writes it again.
- **Header values are percent-encoded** in binary mode (CloudEvents HTTP binding, section 3.1.3.2): the player ` + "`renée o`" + ` is
  ` + "`ce-subject: ren%C3%A9e%20o`" + `. Bytes that are no UTF-8, a percent sign without two hexadecimal digits, and a header that comes twice are refused.
- **JSON is read as RFC 8259 says**, and only if it can be read in one way: a member that comes twice (however it is spelt), ` + "`data`" + ` beside
  ` + "`data_base64`" + `, and anything behind the event or the batch are refused.
- **Sources that begin with ` + "`/pitboss/`" + ` are Pitboss's own**; ingest refuses them.
- An empty attribute is as good as none.

Knative's own Brokers do not percent-decode. What is POSTed to such a Broker in structured mode, without ingest, must therefore have an
id, source and subject of printable ASCII without percent signs, double quotes and spaces; binary mode and ingest take all.

Order does not matter within the lateness window (10 minutes unless features.yaml says otherwise): an event may come late, twice, or
after its own rollback. An event older than that is counted and kept out; facts about the account, consent and protection are
taken however late they come, the latest by event time wins.

| answer of ingest | what to do |
| --- | --- |
| 202 | done: the Broker has it |
| 400, 413, 415 | never send it again: the problem body names the field (in a batch, with the event's index; nothing of the batch was taken) |
| 401 | sign the request or send a token |
| 408, 429, 503 | send the same again, after Retry-After where there is one |

Every schema says in its ` + "`$comment`" + ` what no JSON Schema can check. JSON Schemas (2020-12): ` + "`GET /schemas/<type>.json`" + ` on ingest, or ` + "`bin/pitboss schemas <type>`" + `;
all channels as an AsyncAPI 3.0 document: ` + "`GET /asyncapi`, or `bin/pitboss schemas --asyncapi`" + `.
This file is generated: ` + "`go test ./internal/event -run Catalogue -update`" + `.
`
