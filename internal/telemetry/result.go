package telemetry

import (
	"errors"
	"net/http"

	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"

	"pitboss/internal/event"
	"pitboss/internal/sink"
)

// isRefusal reports whether an error leads to a 4xx answer: a permanent error, its
// event.Result, or a refusal of a sent event by the Broker.
func isRefusal(err error) bool {
	var refused *sink.Refused
	if errors.As(err, &refused) {
		return true
	}
	var result *cehttp.Result
	if errors.As(err, &result) {
		return result.StatusCode/100 == 4 && result.StatusCode != http.StatusConflict && result.StatusCode != http.StatusTooManyRequests
	}
	return event.IsPermanent(err)
}
