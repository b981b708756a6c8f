package event

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
)

// ErrInterrupted means that a body was incomplete: its sender disconnected or was too slow. It
// says nothing about the event, and is worth a retry.
var ErrInterrupted = errors.New("the body did not come whole")

// ReadBody reads a request's body of at most limit bytes. If there are more, the error is a
// *http.MaxBytesError, and w (nil: none) closes the connection. A chunked body that breaks the
// rules of its encoding is a *[Problem]: the same bytes would fail again. Any other error wraps
// [ErrInterrupted]. A body of known size is read into a buffer of that size, because a growing
// buffer costs more and produces twice the garbage.
func ReadBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if n := r.ContentLength; n >= 0 && n <= limit {
		body := make([]byte, n)
		_, err := io.ReadFull(r.Body, body)
		return body, readError(r, err)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	return body, readError(r, err)
}

func readError(r *http.Request, err error) error {
	var tooLarge *http.MaxBytesError
	switch {
	case err == nil, errors.As(err, &tooLarge):
		return err
	case len(r.TransferEncoding) > 0 && !lost(err):
		return &Problem{Code: CodeMalformedBody, Detail: "the body is not valid chunked encoding: " + err.Error()}
	}
	return fmt.Errorf("%w: %w", ErrInterrupted, err)
}

// lost reports whether the connection failed or timed out. net/http has no error of its own
// for bad chunks, so they are what remains.
func lost(err error) bool {
	var network net.Error // includes a deadline of a context
	return errors.As(err, &network) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.Is(err, context.Canceled)
}
