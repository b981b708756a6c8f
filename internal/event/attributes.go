package event

import (
	"mime"
	"strings"

	ce "github.com/cloudevents/sdk-go/v2/event"
)

// ReservedSource begins the sources of Pitboss's own events. A platform that
// used one could have its event taken for a repetition of Pitboss's, or the
// other way round: events are recognised by source and id.
const ReservedSource = "/pitboss/"

// isJSON says whether data of a content type is taken. Media types compare
// without case, whatever parameters they have; other types of JSON
// (application/…+json, text/json) say that the data means something else.
func isJSON(contentType string) bool {
	if contentType == "" || contentType == ce.ApplicationJSON {
		return true
	}
	media, params, err := mime.ParseMediaType(contentType)
	charset, named := params["charset"]
	return err == nil && media == ce.ApplicationJSON && (!named || strings.EqualFold(charset, "utf-8"))
}

// addedOnTheWay are the attributes that ingest, Brokers and tracing add; they do
// not count towards MaxAttributes.
func addedOnTheWay(name string) bool {
	switch name {
	case ExtPartitionKey, ExtReceived, ExtTraceparent, ExtTracestate:
		return true
	}
	return strings.HasPrefix(name, "knative")
}

// checkSize bounds the attributes together, in bytes of HTTP headers. It names
// the largest.
func checkSize(e *ce.Event) error {
	size, largest, which := 0, 0, ""
	count := func(name, value string) {
		n := HeaderSize(name, value)
		if size += n; n > largest {
			largest, which = n, name
		}
	}
	count("id", e.ID())
	count("source", Source(e))
	count("subject", e.Subject())
	count("dataschema", Schema(e))
	count("datacontenttype", e.DataContentType())
	for name, v := range extensions(e) {
		if text, ok := v.(string); ok && !addedOnTheWay(name) {
			count(name, text)
		}
	}
	if size > MaxAttributes {
		return problemf(CodeTooLarge, "/"+which, "the attributes must have at most %d bytes as HTTP headers, have %d; %s is the largest", MaxAttributes, size, which)
	}
	return nil
}

// HeaderSize is how many bytes an attribute takes as an HTTP header, percent-encoded.
func HeaderSize(name, value string) int {
	n := len("ce-: \r\n") + len(name) + len(value)
	for i := range len(value) {
		if c := value[i]; c <= ' ' || c >= 0x7f || c == '"' || c == '%' {
			n += 2
		}
	}
	return n
}
