package event

import (
	"fmt"
	"strings"
)

// Markdown is the event catalogue as a document: docs/events.md holds it, and
// a test keeps it current.
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
| ` + "`time`" + ` | when it happened (event time, RFC 3339), at most 5 minutes ahead of the receiver's clock |
| ` + "`partitionkey`" + ` | the player's id; ingest adds it |
| ` + "`traceparent`" + ` | W3C trace context, carried through every hop |

Money is an integer in minor units with an ISO 4217 currency. Unknown members are ignored. Limits: 64 KiB of data, 16 levels of
nesting, 1 MiB a request, 1,000 events a batch.

Order does not matter within the lateness window (10 minutes unless features.yaml says otherwise): an event may come late, twice, or
after its own rollback. An event older than that is counted and kept out; facts about the account, consent and protection are
taken however late they come, the latest by event time wins.

| answer of ingest | what to do |
| --- | --- |
| 202 | done: the Broker has it |
| 400, 413, 415 | never send it again: the problem body names the field (in a batch, with the event's index; nothing of the batch was taken) |
| 401 | sign the request or send a token |
| 429, 503 | send the same again after Retry-After |

JSON Schemas (2020-12): ` + "`GET /schemas/<type>.json`" + ` on ingest, or ` + "`bin/pitboss schemas <type>`" + `.
This file is generated: ` + "`go test ./internal/event -run Catalogue -update`" + `.
`
