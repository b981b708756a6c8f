package event

import (
	"mime"
	"strings"

	ce "github.com/cloudevents/sdk-go/v2/event"
)

// ReservedSource is the prefix of the sources of Pitboss's own events. Events are recognised by
// source and id, so a platform that used such a source could have its event taken for a
// duplicate of Pitboss's, or the other way round.
const ReservedSource = "/pitboss/"

// isJSON reports whether data of a content type is accepted. Media types are compared without
// case and parameters. Other JSON types (application/…+json, text/json) are not accepted,
// because they say that the data means something else.
func isJSON(contentType string) bool {
	if contentType == "" || contentType == ce.ApplicationJSON {
		return true
	}
	media, params, err := mime.ParseMediaType(contentType)
	charset, named := params["charset"]
	return err == nil && media == ce.ApplicationJSON && (!named || strings.EqualFold(charset, "utf-8"))
}

// addedOnTheWay reports whether ingest, Brokers or tracing add the attribute. Such attributes
// do not count towards MaxAttributes.
func addedOnTheWay(name string) bool {
	switch name {
	case ExtPartitionKey, ExtReceived, ExtTraceparent, ExtTracestate:
		return true
	}
	return strings.HasPrefix(name, "knative")
}

// checkSize bounds the size of all attributes together, in bytes of HTTP headers. The error
// names the largest.
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

// HeaderSize returns the size in bytes of an attribute as a percent-encoded HTTP header.
func HeaderSize(name, value string) int {
	n := len("ce-: \r\n") + len(name) + len(value)
	for i := range len(value) {
		if c := value[i]; c <= ' ' || c >= 0x7f || c == '"' || c == '%' {
			n += 2
		}
	}
	return n
}
