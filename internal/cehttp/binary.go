package cehttp

import (
	"cmp"
	"mime"
	"net/http"
	"slices"
	"strings"

	ce "github.com/cloudevents/sdk-go/v2/event"

	"pitboss/internal/event"
)

// Mode is the mode in which a request or a reply carries events.
type Mode int

// The modes of CloudEvents' HTTP binding, section 3.
const (
	None Mode = iota // nothing of CloudEvents is in it
	Binary
	Structured
	Batch
)

// ModeOf returns the mode of a message by its headers. The error is a *event.Problem: the
// message is in an unsupported CloudEvents format.
func ModeOf(h http.Header) (Mode, error) {
	types := h["Content-Type"]
	if len(types) > 1 {
		return None, problem("/datacontenttype", "the header content-type comes %d times", len(types))
	}
	if len(types) == 1 {
		if media, _, _ := strings.Cut(types[0], ";"); len(media) >= len(cloudEvents) && strings.EqualFold(media[:len(cloudEvents)], cloudEvents) {
			return jsonMode(types[0])
		}
	}
	for name := range h {
		if strings.HasPrefix(name, "Ce-") {
			return Binary, nil
		}
	}
	return None, nil
}

const cloudEvents = "application/cloudevents"

func jsonMode(contentType string) (Mode, error) {
	media, params, err := mime.ParseMediaType(contentType)
	charset, named := params["charset"]
	switch {
	case err != nil || named && !strings.EqualFold(charset, "utf-8"):
	case media == ce.ApplicationCloudEventsJSON:
		return Structured, nil
	case media == ce.ApplicationCloudEventsBatchJSON:
		return Batch, nil
	}
	return None, &event.Problem{Code: event.CodeUnsupportedMedia, Pointer: "/datacontenttype",
		Detail: "content-type " + contentType + " is not understood; " + ce.ApplicationCloudEventsJSON + " and " + ce.ApplicationCloudEventsBatchJSON + " are, in UTF-8"}
}

// Read reads one event in binary or structured mode. The error is a [Problems] or a
// *event.Problem. The message's data aliases body.
func Read(h http.Header, body []byte) (*Message, error) {
	mode, err := ModeOf(h)
	if err != nil {
		return nil, err
	}
	switch mode {
	case Binary:
		return readBinary(h, body)
	case Structured:
		m, err := ReadJSON(body)
		if err == nil {
			err = m.agrees(h)
		}
		return m, err
	case Batch:
		return nil, &event.Problem{Code: event.CodeUnsupportedMedia, Pointer: "/datacontenttype", Detail: "one event is taken here, no batch"}
	}
	return nil, problem("", "no CloudEvent: neither ce-… headers (binary mode) nor Content-Type %s (structured) or %s (batch)",
		ce.ApplicationCloudEventsJSON, ce.ApplicationCloudEventsBatchJSON)
}

// agrees refuses a structured event whose headers have an attribute with another value.
func (m *Message) agrees(h http.Header) error {
	for header, values := range h {
		if !strings.HasPrefix(header, "Ce-") {
			continue
		}
		name := attributeOf(header)
		for _, v := range values {
			if v, err := Decode(v); err != nil || v != m.Attribute(name) {
				return problem("/"+name, "the header ce-%s says something else than the event", name)
			}
		}
	}
	return nil
}

func readBinary(h http.Header, body []byte) (*Message, error) {
	r := newReading("", len(h))
	r.Data = body
	for header, values := range h {
		if !strings.HasPrefix(header, "Ce-") {
			continue
		}
		name := attributeOf(header)
		if len(values) > 1 {
			r.refuse(name, "the header ce-%s comes %d times", name, len(values))
			continue
		}
		switch v, err := Decode(values[0]); {
		case err != nil:
			r.refuse(name, "the header ce-%s %v", name, err)
		case name == "datacontenttype":
			r.refuse(name, "datacontenttype is the header content-type in binary mode")
		default:
			r.put(name, v)
		}
	}
	if types := h["Content-Type"]; len(types) == 1 {
		r.put("datacontenttype", types[0])
	}
	r.done()
	if r.wrong != nil {
		slices.SortFunc(r.wrong, func(a, b *event.Problem) int { return cmp.Compare(a.Pointer, b.Pointer) })
		return nil, r.wrong
	}
	return &r.Message, nil
}

// headerNames maps frequent attributes to HTTP headers (CloudEvents HTTP binding 1.0.2, section
// 3.1.3), and attributeNames maps them back. Other names are computed.
var headerNames, attributeNames = names(specversion, "id", "source", "type", "subject", "time", "dataschema",
	event.ExtPartitionKey, event.ExtReceived, event.ExtTraceparent, event.ExtTracestate, event.ExtJurisdiction, event.ExtBrand,
	"pitbossdue", "pitbosscause", "knativearrivaltime", "knativebrokerttl")

func names(attributes ...string) (headers, back map[string]string) {
	headers, back = map[string]string{"datacontenttype": "Content-Type"}, map[string]string{}
	for _, name := range attributes {
		header := http.CanonicalHeaderKey("Ce-" + name)
		headers[name], back[header] = header, name
	}
	return headers, back
}

// HeaderOf returns the header of an attribute, in canonical form.
func HeaderOf(attribute string) string {
	if h, ok := headerNames[attribute]; ok {
		return h
	}
	return http.CanonicalHeaderKey("Ce-" + attribute)
}

func attributeOf(header string) string {
	if a, ok := attributeNames[header]; ok {
		return a
	}
	return strings.ToLower(header[len("Ce-"):])
}
