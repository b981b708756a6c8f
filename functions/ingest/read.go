package ingest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode"

	ce "github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/cloudevents/sdk-go/v2/types"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"pitboss/internal/event"
	"pitboss/internal/telemetry"
)

// read decodes the request into events; batch says whether it was a batch, and
// wrong what is no CloudEvent 1.0 in it.
func (f *Function) read(r *http.Request, body []byte) (events []ce.Event, batch bool, wrong []fieldError) {
	r.Body = io.NopCloser(bytes.NewReader(body))
	if batch = strings.HasPrefix(r.Header.Get("Content-Type"), ce.ApplicationCloudEventsBatchJSON); batch {
		list, err := cehttp.NewEventsFromHTTPRequest(r)
		switch {
		case err != nil:
			return nil, true, diagnoseBatch(body, err)
		case len(list) == 0:
			return nil, true, notCloudEvent("", "the batch is empty")
		case len(list) > f.cfg.MaxBatch:
			return nil, true, []fieldError{{Code: event.CodeTooLarge,
				Detail: fmt.Sprintf("a batch may hold %d events, this one holds %d", f.cfg.MaxBatch, len(list))}}
		}
		for i := range list {
			if err := validate(&list[i]); err != nil {
				return nil, true, diagnoseBatch(body, err)
			}
		}
		events = list
	} else {
		e, err := cehttp.NewEventFromHTTPRequest(r)
		if err == nil {
			err = validate(e)
		}
		if err != nil {
			return nil, false, diagnose(r.Header, body, err)
		}
		events = []ce.Event{*e}
	}
	for i := range events {
		telemetry.Adopt(&events[i], r.Header.Get("Traceparent"))
	}
	return events, batch, nil
}

// validate is sdk-go's, and refuses what sdk-go reads too: CloudEvents 0.3, and
// control characters, which no HTTP header takes to a Broker.
func validate(e *ce.Event) error {
	if v := e.SpecVersion(); v != ce.CloudEventsVersionV1 {
		return fmt.Errorf("specversion must be 1.0, is %q", v)
	}
	bad := hasControl(e.ID()) || hasControl(e.Subject()) // source and dataschema are URIs, type is in the catalogue
	for _, v := range e.Extensions() {
		text, _ := v.(string)
		bad = bad || hasControl(text)
	}
	if bad {
		return errors.New("an attribute has control characters")
	}
	return e.Validate()
}

// hasControl reports what CloudEvents 1.0 (section 3.1, type String) forbids.
func hasControl(value string) bool { return strings.ContainsFunc(value, unicode.IsControl) }

func notCloudEvent(pointer, detail string) []fieldError {
	return []fieldError{{Pointer: pointer, Code: event.CodeNotCloudEvent, Detail: detail}}
}

// diagnose says which attributes made err, for sdk-go's words do not name them
// all. It never returns nothing.
func diagnose(h http.Header, body []byte, err error) []fieldError {
	if strings.HasPrefix(h.Get("Content-Type"), ce.ApplicationCloudEventsJSON) {
		return diagnoseJSON("", body, err)
	}
	attributes := map[string]string{}
	for name, values := range h {
		if name, ok := strings.CutPrefix(name, "Ce-"); ok {
			attributes[strings.ToLower(name)] = values[0]
		}
	}
	if len(attributes) == 0 {
		return notCloudEvent("", "no CloudEvent: neither ce-… headers (binary mode) nor Content-Type "+
			ce.ApplicationCloudEventsJSON+" (structured) or "+ce.ApplicationCloudEventsBatchJSON+" (batch)")
	}
	return orElse(wrongAttributes("", attributes), err)
}

func diagnoseBatch(body []byte, err error) (wrong []fieldError) {
	var members []jsontext.Value
	if jsonErr := json.Unmarshal(body, &members); jsonErr != nil {
		return notCloudEvent("", "the body is no JSON array of events: "+jsonErr.Error())
	}
	for i, m := range members {
		wrong = append(wrong, diagnoseJSON(fmt.Sprintf("/%d", i), m, nil)...)
	}
	return orElse(wrong, err)
}

// diagnoseJSON is of an event in the JSON format, which stands at pointer.
func diagnoseJSON(pointer string, text []byte, err error) (wrong []fieldError) {
	var members map[string]jsontext.Value
	if jsonErr := json.Unmarshal(text, &members); jsonErr != nil || members == nil {
		return notCloudEvent(pointer, strings.TrimSuffix(fmt.Sprint("the event is no JSON object: ", jsonErr), ": <nil>"))
	}
	attributes := map[string]string{}
	for name, v := range members {
		switch {
		case name == "data" || name == "data_base64":
		case v.Kind() == '"':
			var s string
			if json.Unmarshal(v, &s) == nil {
				attributes[name] = s
			}
		case slices.Contains([]string{"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema"}, name):
			wrong = append(wrong, notCloudEvent(pointer+"/"+name, name+" must be a string")...)
			attributes[name] = "(told already)"
		}
	}
	if len(wrong) == 0 {
		wrong = wrongAttributes(pointer, attributes)
	}
	return orElse(wrong, err)
}

// wrongAttributes holds attributes against CloudEvents 1.0, section 3.1.
func wrongAttributes(pointer string, attributes map[string]string) (wrong []fieldError) {
	say := func(name, what string) { wrong = append(wrong, notCloudEvent(pointer+"/"+name, name+" "+what)...) }
	if v, ok := attributes["specversion"]; !ok {
		say("specversion", "is missing: 1.0 is understood")
	} else if v != ce.CloudEventsVersionV1 {
		say("specversion", fmt.Sprintf("must be 1.0, is %q", v))
	}
	for _, name := range []string{"id", "source", "type"} {
		if attributes[name] == "" {
			say(name, "is missing or empty")
		}
	}
	for _, name := range []string{"source", "dataschema"} {
		if _, err := url.Parse(attributes[name]); err != nil {
			say(name, fmt.Sprintf("must be a URI, is %q", attributes[name]))
		}
	}
	if v, ok := attributes["time"]; ok {
		if _, err := types.ParseTime(v); err != nil {
			say("time", fmt.Sprintf("must be as in 2026-01-31T14:02:00Z (RFC 3339), is %q", v))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(attributes)) {
		if hasControl(attributes[name]) {
			say(name, "must have no control characters")
		}
	}
	return wrong
}

// orElse is what was found to be wrong, or else sdk-go's word for it.
func orElse(wrong []fieldError, err error) []fieldError {
	if len(wrong) > 0 || err == nil {
		return wrong
	}
	return notCloudEvent("", "not a CloudEvent 1.0: "+strings.TrimSpace(strings.ReplaceAll(err.Error(), "\n", " ")))
}
