package event

import (
	"net/url"
	"strings"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"

	"pitboss/internal/cache"
)

// Platforms have few sources and types few schemas, which sdk-go parses, and
// writes, for each event.
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

// newEvent is an event of function fn's with JSON data.
func newEvent(fn, typ, subject, id string, at time.Time, body []byte) *ce.Event {
	c := &ce.EventContextV1{ID: id, Type: typ, DataContentType: &contentType, Extensions: make(map[string]any, 12)}
	c.Source, _ = ParseSource(SourceOf(fn)) // a function's name and a type's are no bad URIs
	c.DataSchema, _ = ParseSchema(SchemaURI(typ))
	_ = c.SetSubject(subject)
	_ = c.SetTime(at)
	return &ce.Event{Context: c, DataEncoded: body}
}
