package event

import (
	"errors"
	"fmt"
	"net/http"

	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
)

// Problem describes bad input. It is always permanent.
type Problem struct {
	Code    string // stable, machine-readable: unknown-type, schema-violation, …
	Pointer string // RFC 6901 JSON pointer into the event, e.g. /data/stake
	Detail  string // one plain sentence
}

func (p *Problem) Error() string {
	if p.Pointer == "" {
		return p.Code + ": " + p.Detail
	}
	return p.Code + " at " + p.Pointer + ": " + p.Detail
}

// The codes a [Problem] may carry.
const (
	CodeNotCloudEvent   = "not-a-cloudevent"
	CodeUnknownType     = "unknown-type"
	CodeNoSubject       = "no-subject"
	CodeNoTime          = "no-time"
	CodeFutureTime      = "time-in-future"
	CodeSchemaViolation = "schema-violation"
	CodeTooLarge        = "too-large"
	CodeTooDeep         = "too-deep"
	CodeMalformedBody   = "malformed-body" // its transfer encoding
	CodeReserved        = "reserved"       // an attribute that is Pitboss's own
	// CodeUnsupportedMedia is for a body in an unknown format. Over HTTP it becomes 415.
	CodeUnsupportedMedia = "unsupported-media-type"
)

type permanentError struct{ err error }

func (e permanentError) Error() string { return e.err.Error() }
func (e permanentError) Unwrap() error { return e.err }

// Permanent marks an error for which a retry is useless: the Broker gets 400 and dead-letters
// the event at once. Every other error is retried.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return permanentError{err}
}

// IsPermanent reports whether err is marked [Permanent] or is a [Problem].
func IsPermanent(err error) bool {
	var pe permanentError
	var p *Problem
	return errors.As(err, &pe) || errors.As(err, &p)
}

// Result maps a function's error to the status that the Broker gets: nil → 200, permanent →
// 400 (dead-lettered, never retried), anything else → 500 (retried with backoff, then
// dead-lettered). It is the only place that does so.
func Result(err error) error {
	switch {
	case err == nil:
		return nil
	case IsPermanent(err):
		return cehttp.NewResult(http.StatusBadRequest, "%w", err)
	default:
		return cehttp.NewResult(http.StatusInternalServerError, "%w", err)
	}
}

func problemf(code, pointer, format string, args ...any) *Problem {
	return &Problem{Code: code, Pointer: pointer, Detail: fmt.Sprintf(format, args...)}
}
