package event

import (
	"net/url"
	"strings"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"

	"pitboss/internal/cache"
)

// sdk-go parses and formats the source and the schema of every event. Platforms have few
// sources and types few schemas, so both are cached.
var (
	uris    = cache.New(1024, strings.Clone, func(s string) parsed { u, err := url.Parse(s); return parsed{u, err} })
	written = cache.New(1024, func(u url.URL) url.URL { return u }, func(u url.URL) string { return u.String() })
)

type parsed struct {
	url *url.URL
	err error
}

// ParseSource reads the attribute source, as sdk-go's SetSource does.
func ParseSource(s string) (types.URIRef, error) {
	p := uris.Get(s)
	if p.err != nil {
		return types.URIRef{}, p.err
	}
	return types.URIRef{URL: *p.url}, nil
}

// ParseSchema reads the attribute dataschema, as sdk-go's SetDataSchema does.
func ParseSchema(s string) (*types.URI, error) {
	p := uris.Get(s)
	if p.err != nil {
		return nil, p.err
	}
	return &types.URI{URL: *p.url}, nil
}

// Source is e.Source().
func Source(e *ce.Event) string {
	if c, ok := e.Context.(*ce.EventContextV1); ok {
		return written.Get(c.Source.URL)
	}
	return e.Source()
}

// Schema is e.DataSchema().
func Schema(e *ce.Event) string {
	if c, ok := e.Context.(*ce.EventContextV1); ok && c.DataSchema != nil {
		return written.Get(c.DataSchema.URL)
	}
	return e.DataSchema()
}

var contentType = ce.ApplicationJSON

// newEvent returns an event of the function fn with JSON data.
func newEvent(fn, typ, subject, id string, at time.Time, body []byte) *ce.Event {
	c := &ce.EventContextV1{ID: id, Type: typ, DataContentType: &contentType, Extensions: make(map[string]any, 12)}
	c.Source, _ = ParseSource(SourceOf(fn)) // the names of functions and types make valid URIs
	c.DataSchema, _ = ParseSchema(SchemaURI(typ))
	_ = c.SetSubject(subject)
	_ = c.SetTime(at)
	return &ce.Event{Context: c, DataEncoded: body}
}
