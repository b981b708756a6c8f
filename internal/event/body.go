package event

import (
	"errors"
	"fmt"
	"io"
	"net/http"
)

// ErrInterrupted means that a body was incomplete: its sender disconnected or was too slow. It
// says nothing about the event, and is worth a retry.
var ErrInterrupted = errors.New("the body did not come whole")

// ReadBody reads a request's body of at most limit bytes. If there are more, the error is a
// *http.MaxBytesError, and w (nil: none) closes the connection. Any other error wraps
// [ErrInterrupted]. A body of known size is read into a buffer of that size, because a growing
// buffer costs more and produces twice the garbage.
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
