package functions

import (
	"net/http"

	ce "github.com/cloudevents/sdk-go/v2/event"

	"pitboss/internal/cehttp"
	"pitboss/internal/event"
)

// decode reads the CloudEvent of a request, in binary or structured mode.
func decode(r *http.Request) (*ce.Event, error) {
	body, err := event.ReadBody(nil, r, maxBody)
	if err != nil {
		return nil, err
	}
	m, err := cehttp.Read(r.Header, body)
	if err != nil {
		return nil, err
	}
	return m.Event(), nil
}
