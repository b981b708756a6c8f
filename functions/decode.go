package functions

import (
	"net/http"
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
	e := ce.Event{Context: new(ce.EventContextV1)}
	for header, values := range r.Header {
		if err := attribute(&e, header, values[0]); err != nil {
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
	return &e, e.Validate()
}

// attribute sets the context attribute that an HTTP header carries (CloudEvents
// HTTP protocol binding 1.0.2, section 3.1.3), if it carries one.
func attribute(e *ce.Event, header, value string) error {
	if header == "Content-Type" {
		return e.Context.SetDataContentType(value)
	}
	name, ok := strings.CutPrefix(header, "Ce-")
	if !ok {
		return nil
	}
	switch name {
	case "Specversion":
		return nil
	case "Id":
		return e.Context.SetID(value)
	case "Type":
		return e.Context.SetType(value)
	case "Source":
		return e.Context.SetSource(value)
	case "Subject":
		return e.Context.SetSubject(value)
	case "Dataschema":
		return e.Context.SetDataSchema(value)
	case "Time":
		t, err := types.ParseTime(value)
		if err != nil {
			return err
		}
		return e.Context.SetTime(t)
	}
	return e.Context.SetExtension(strings.ToLower(name), value)
}
