package event

import (
	"io"
	"net/http"
)

// ReadBody reads a request's body of at most limit bytes; more is a
// *http.MaxBytesError, after which w (nil: none) closes the connection. A body
// whose size is told is read into room of that size: what grows costs more, and
// leaves as much again behind.
func ReadBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if n := r.ContentLength; n >= 0 && n <= limit {
		body := make([]byte, n)
		_, err := io.ReadFull(r.Body, body)
		return body, err
	}
	return io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
}
