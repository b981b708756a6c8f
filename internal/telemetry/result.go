package telemetry

import (
	"errors"
	"net/http"

	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"

	"pitboss/internal/event"
	"pitboss/internal/sink"
)

// isRefusal reports whether the Broker will see 4xx: event's own permanent
// errors, what event.Result made of them, or a Broker's own no to an event sent.
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
