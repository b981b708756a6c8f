package event

import (
	"errors"
	"fmt"
	"io"
	"net/http"
)

// ErrInterrupted means that a body did not come whole: its sender went away, or was
// too slow. That says nothing about the event, so it is worth a retry.
var ErrInterrupted = errors.New("the body did not come whole")

// ReadBody reads a request's body of at most limit bytes; more is a
// *http.MaxBytesError, after which w (nil: none) closes the connection. Any other
// error is [ErrInterrupted]. A body
// whose size is told is read into room of that size: what grows costs more, and
// leaves as much again behind.
func ReadBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if n := r.ContentLength; n >= 0 && n <= limit {
		body := make([]byte, n)
		_, err := io.ReadFull(r.Body, body)
		return body, interrupted(err)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	return body, interrupted(err)
}

func interrupted(err error) error {
	var tooLarge *http.MaxBytesError
	if err == nil || errors.As(err, &tooLarge) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrInterrupted, err)
}
