// Package cehttp reads and writes CloudEvents 1.0 over HTTP: requests and
// replies in binary mode, structured mode and, to be read, batches. It is the
// only reader and writer: functions, ingest, the Broker, the clients that POST,
// and recordings (a line is an event in the JSON format) use it, so an event
// means the same by every door, and what is no event is refused by every door
// with the same field.
//
// Sources: CloudEvents 1.0.2, its HTTP binding (percent-encoding in section
// 3.1.3.2) and its JSON format; RFC 8259. sdk-go v2.16.2 does not serve here:
// its HTTP binding does not decode headers, takes the first of two, trims ids,
// and takes the last of two members.
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

// Message is an event as it stands on the wire: attributes as text in their
// canonical form, decoded, and data as bytes.
type Message struct {
	// Attributes are name, value, …; specversion comes first, none is empty.
	Attributes []string
	Data       []byte
}

const specversion = "specversion"

// Problems is everything that is wrong with what was sent; it has at least one.
// errors.As finds the first as a *event.Problem.
type Problems []*event.Problem

func (p Problems) Error() string {
	if len(p) == 1 {
		return p[0].Error()
	}
	return fmt.Sprintf("%s (and %d more)", p[0], len(p)-1)
}

// Unwrap has errors.As find each problem.
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

// Status is the HTTP answer to what could not be read: 413 a body over its
// limit, 415 a format that is not understood, 500 where the body did not come
// whole, 400 anything else. Only the 500 is worth a retry.
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

// Attribute is the value of one; "" if there is none.
func (m *Message) Attribute(name string) string {
	for i := 0; i < len(m.Attributes); i += 2 {
		if m.Attributes[i] == name {
			return m.Attributes[i+1]
		}
	}
	return ""
}

// reading collects the attributes of one event, and what is wrong with them.
type reading struct {
	Message
	at    string // pointer to the event in what was sent; "" unless a batch
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

// put takes an attribute. An empty one is as good as none.
func (r *reading) put(name, value string) {
	if value == "" {
		return
	}
	if wrong := Wrong(name, value); wrong != "" {
		r.refuse(name, "%s %s", name, wrong)
	}
	if name == specversion {
		r.Attributes[1] = value
		return
	}
	r.Attributes = append(r.Attributes, name, value)
}

// done says what is missing.
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

// Wrong says what is wrong with an attribute (CloudEvents 1.0.2, section 3), or "".
func Wrong(name, value string) string {
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

// Platforms have few sources, and types few schemas.
var (
	wrongSource = cache.New(1024, strings.Clone, func(s string) string { return wrongURI(s, false) })
	wrongSchema = cache.New(1024, strings.Clone, func(s string) string { return wrongURI(s, true) })
)

// wrongURI refuses what is no URI reference, and what net/url would write in
// another way: two sources that differ must stay two.
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

// Event makes the typed event of a message that was read: its attributes are
// known to be right. Every extension is text, as over HTTP.
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
