package cehttp

import (
	"bytes"
	"context"
	"net/http"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"

	"pitboss/internal/event"
)

// each calls put with every attribute of an event, as text.
func each(e *ce.Event, put func(name, value string)) {
	put(specversion, e.SpecVersion())
	put("id", e.ID())
	put("source", event.Source(e))
	put("type", e.Type())
	if s := e.Subject(); s != "" {
		put("subject", s)
	}
	if t := e.Time(); !t.IsZero() {
		put("time", types.FormatTime(t))
	}
	if s := event.Schema(e); s != "" {
		put("dataschema", s)
	}
	if s := e.DataContentType(); s != "" {
		put("datacontenttype", s)
	}
	for name, v := range extensions(e) {
		if s, err := types.Format(v); err == nil && s != "" {
			put(name, s)
		}
	}
}

// extensions returns e.Extensions() without copying them. They must not be modified.
func extensions(e *ce.Event) map[string]any {
	if c, ok := e.Context.(*ce.EventContextV1); ok {
		return c.Extensions
	}
	return e.Extensions()
}

// MessageOf returns the message of an event.
func MessageOf(e *ce.Event) *Message {
	m := &Message{Attributes: make([]string, 0, 32), Data: e.Data()}
	each(e, func(name, value string) {
		if value != "" {
			m.Attributes = append(m.Attributes, name, value)
		}
	})
	return m
}

// WriteHeader sets the headers of a request or a reply that carries an event in binary mode. The
// body is the event's data.
func WriteHeader(h http.Header, e *ce.Event) {
	each(e, func(name, value string) {
		if name != "datacontenttype" {
			value = Encode(value)
		}
		h[HeaderOf(name)] = []string{value}
	})
}

// NewRequest returns a POST request with an event in binary mode.
func NewRequest(ctx context.Context, url string, e *ce.Event) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(e.Data()))
	if err != nil {
		return nil, err
	}
	WriteHeader(r.Header, e)
	return r, nil
}
