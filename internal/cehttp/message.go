// Package cehttp reads and writes CloudEvents 1.0 over HTTP: requests and replies in binary and
// structured mode; it also reads batches. It is the only reader and writer: functions, ingest,
// the Broker, the clients that POST, and recordings (a line is an event in the JSON format) use
// it. So an event means the same everywhere, and an invalid one is refused everywhere with the
// same field.
//
// Sources: CloudEvents 1.0.2, its HTTP binding (percent-encoding in section 3.1.3.2) and its
// JSON format; RFC 8259. Rejected: the HTTP binding of sdk-go v2.16.2. It does not decode
// headers, takes the first of two equal headers and the last of two equal members, and trims
// ids.
package cehttp

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strings"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"

	"pitboss/internal/cache"
	"pitboss/internal/event"
)

// Message is an event on the wire: decoded attributes in their canonical text form, and data as
// bytes.
type Message struct {
	// Attributes alternates names and values. specversion comes first, and no value is empty.
	Attributes []string
	Data       []byte
}

const specversion = "specversion"

// Problems lists everything that is wrong with a message. It has at least one problem;
// errors.As finds the first as a *event.Problem.
type Problems []*event.Problem

func (p Problems) Error() string {
	if len(p) == 1 {
		return p[0].Error()
	}
	return fmt.Sprintf("%s (and %d more)", p[0], len(p)-1)
}

// Unwrap lets errors.As find each problem.
func (p Problems) Unwrap() []error {
	all := make([]error, len(p))
	for i := range p {
		all[i] = p[i]
	}
	return all
}

func problem(pointer, format string, args ...any) *event.Problem {
	return &event.Problem{Code: event.CodeNotCloudEvent, Pointer: pointer, Detail: fmt.Sprintf(format, args...)}
}

// Status returns the HTTP status for an error of reading: 413 for a body over its limit, 415
// for an unsupported format, 500 for an incomplete body, 400 for anything else. Only the 500 is
// worth a retry.
func Status(err error) int {
	var tooLarge *http.MaxBytesError
	var p *event.Problem
	switch {
	case errors.As(err, &tooLarge):
		return http.StatusRequestEntityTooLarge
	case errors.As(err, &p):
		if p.Code == event.CodeUnsupportedMedia {
			return http.StatusUnsupportedMediaType
		}
	case errors.Is(err, event.ErrInterrupted):
		return http.StatusInternalServerError
	}
	return http.StatusBadRequest
}

// Attribute returns the value of an attribute, or "".
func (m *Message) Attribute(name string) string {
	for i := 0; i < len(m.Attributes); i += 2 {
		if m.Attributes[i] == name {
			return m.Attributes[i+1]
		}
	}
	return ""
}

// reading collects the attributes of an event and the problems with them.
type reading struct {
	Message
	at    string // JSON pointer to the event; "" unless it is in a batch
	wrong Problems
}

func newReading(at string, attributes int) *reading {
	r := &reading{at: at}
	r.Attributes = append(make([]string, 0, 2*attributes+2), specversion, "")
	return r
}

func (r *reading) refuse(name, format string, args ...any) {
	r.wrong = append(r.wrong, problem(r.at+"/"+name, format, args...))
}

// put adds an attribute. An empty one counts as absent.
func (r *reading) put(name, value string) {
	if value == "" {
		return
	}
	if wrong := wrongAttribute(name, value); wrong != "" {
		r.refuse(name, "%s %s", name, wrong)
	}
	if name == specversion {
		r.Attributes[1] = value
		return
	}
	r.Attributes = append(r.Attributes, name, value)
}

// done refuses the event if a required attribute is missing.
func (r *reading) done() {
	for _, name := range [...]string{specversion, "id", "source", "type"} {
		if r.Attribute(name) == "" && !r.told(name) {
			r.refuse(name, "%s is missing or empty", name)
		}
	}
}

func (r *reading) told(name string) bool {
	for _, p := range r.wrong {
		if p.Pointer == r.at+"/"+name {
			return true
		}
	}
	return false
}

// wrongAttribute returns what is wrong with an attribute (CloudEvents 1.0.2, section 3), or "".
func wrongAttribute(name, value string) string {
	switch name {
	case specversion:
		if value != ce.CloudEventsVersionV1 {
			return fmt.Sprintf("must be 1.0, is %q", value)
		}
	case "id", "subject", "type":
		return event.WrongID(value)
	case "source":
		if wrong := event.WrongID(value); wrong != "" {
			return wrong
		}
		return wrongSource.Get(value)
	case "dataschema":
		return wrongSchema.Get(value)
	case "time":
		if _, err := event.ParseTime(value); err != nil {
			return err.Error()
		}
	case "datacontenttype":
		return wrongType(value)
	default:
		if !validName(name) {
			return "is no attribute's name: those have lower-case letters and digits only"
		}
		return event.WrongText(value)
	}
	return ""
}

func validName(name string) bool {
	for i := range len(name) {
		if c := name[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return name != "" && name != "data"
}

func wrongType(value string) string {
	if value == ce.ApplicationJSON {
		return ""
	}
	if _, _, err := mime.ParseMediaType(value); err != nil {
		return fmt.Sprintf("must be a media type (RFC 2046): %v", err)
	}
	return event.WrongText(value)
}

// Platforms have few sources and types few schemas, so the checks of their URIs are cached.
var (
	wrongSource = cache.New(1024, strings.Clone, func(s string) string { return wrongURI(s, false) })
	wrongSchema = cache.New(1024, strings.Clone, func(s string) string { return wrongURI(s, true) })
)

// wrongURI refuses a string that is not a URI reference, and one that net/url would write in
// another way: distinct sources must stay distinct.
func wrongURI(value string, absolute bool) string {
	u, err := url.Parse(value)
	switch {
	case err != nil:
		return fmt.Sprintf("must be a URI (RFC 3986), is %q", value)
	case u.String() != value:
		return fmt.Sprintf("must be a URI (RFC 3986) in normal form, %s, is %q", u, value)
	case absolute && !u.IsAbs():
		return fmt.Sprintf("must be an absolute URI (RFC 3986), is %q", value)
	}
	return ""
}

// Event returns the typed event of a message whose attributes have been checked. Every extension
// is text, as over HTTP.
func (m *Message) Event() *ce.Event {
	c := &ce.EventContextV1{Extensions: make(map[string]any, 12)}
	for i := 2; i < len(m.Attributes); i += 2 {
		switch name, v := m.Attributes[i], m.Attributes[i+1]; name {
		case "id":
			c.ID = v
		case "type":
			c.Type = v
		case "source":
			c.Source, _ = event.ParseSource(v)
		case "subject":
			c.Subject = &m.Attributes[i+1]
		case "dataschema":
			c.DataSchema, _ = event.ParseSchema(v)
		case "datacontenttype":
			c.DataContentType = &m.Attributes[i+1]
		case "time":
			t, _ := event.ParseTime(v)
			c.Time = &types.Timestamp{Time: t}
		default:
			c.Extensions[name] = v
		}
	}
	e := &ce.Event{Context: c}
	if len(m.Data) > 0 {
		e.DataEncoded = m.Data
	}
	return e
}
