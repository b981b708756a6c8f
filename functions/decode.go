package functions

import (
	"net/http"
	"net/url"
	"strings"

	ce "github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/cloudevents/sdk-go/v2/types"

	"pitboss/internal/event"
)

// decode reads a CloudEvent 1.0 and validates it. Binary mode, what Brokers
// send, is read here: sdk-go's general way costs more. Whatever
// else comes is sdk-go's.
func decode(r *http.Request) (*ce.Event, error) {
	v := r.Header["Ce-Specversion"]
	if len(v) != 1 || v[0] != ce.CloudEventsVersionV1 {
		e, err := cehttp.NewEventFromHTTPRequest(r)
		if err != nil {
			return nil, err
		}
		return e, e.Validate()
	}
	e, c := newEvent()
	for header, values := range r.Header {
		if err := attribute(c, header, values[0]); err != nil {
			return nil, err
		}
	}
	body, err := event.ReadBody(nil, r, maxBody)
	if err != nil {
		return nil, err
	}
	if len(body) > 0 {
		e.DataEncoded = body
	}
	return e, validate(e, c)
}

func newEvent() (*ce.Event, *ce.EventContextV1) {
	c := &ce.EventContextV1{Extensions: make(map[string]any, 12)}
	return &ce.Event{Context: c}, c
}

// validate is e.Validate, which takes its time over what nearly every event is.
func validate(e *ce.Event, c *ce.EventContextV1) error {
	if c.ID != "" && c.Type != "" && c.Source.URL != (url.URL{}) && (c.DataSchema == nil || c.DataSchema.Validate()) &&
		(c.DataContentType == nil || *c.DataContentType == ce.ApplicationJSON) {
		return nil
	}
	return e.Validate()
}

// attribute sets the context attribute that an HTTP header carries (CloudEvents
// HTTP protocol binding 1.0.2, section 3.1.3), if it carries one.
func attribute(c *ce.EventContextV1, header, value string) (err error) {
	switch header {
	case "Ce-Specversion":
	case "Ce-Id":
		return c.SetID(value)
	case "Ce-Type":
		return c.SetType(value)
	case "Ce-Source":
		c.Source, err = event.ParseSource(value)
	case "Ce-Subject":
		return c.SetSubject(value)
	case "Ce-Dataschema":
		if value = strings.TrimSpace(value); value != "" {
			c.DataSchema, err = event.ParseSchema(value)
		}
	case "Ce-Time":
		t, err := types.ParseTime(value)
		if err != nil {
			return err
		}
		return c.SetTime(t)
	case "Content-Type":
		return c.SetDataContentType(value)
	default:
		if name, ok := extensionNames[header]; ok {
			c.Extensions[name] = value
		} else if name, ok := strings.CutPrefix(header, "Ce-"); ok {
			return c.SetExtension(strings.ToLower(name), value)
		}
	}
	return err
}

// extensionNames are those that nearly every event carries, by their header;
// headerNames are all that does, so that no name is made anew.
var extensionNames, headerNames = names(event.ExtPartitionKey, event.ExtTraceparent, event.ExtTracestate, event.ExtReceived,
	event.ExtJurisdiction, event.ExtBrand, "knativearrivaltime")

func names(extensions ...string) (of, headers map[string]string) {
	of, headers = map[string]string{}, map[string]string{}
	for _, name := range extensions {
		of[http.CanonicalHeaderKey("Ce-"+name)] = name
	}
	for _, h := range []string{"Ce-Specversion", "Ce-Id", "Ce-Type", "Ce-Source", "Ce-Subject", "Ce-Dataschema", "Ce-Time",
		"Content-Type", "Content-Length", "Host", "Prefer", "Traceparent"} {
		headers[h] = h
	}
	for h := range of {
		headers[h] = h
	}
	return of, headers
}

func headerName(name []byte) string {
	if s, ok := headerNames[string(name)]; ok {
		return s
	}
	return string(name)
}
