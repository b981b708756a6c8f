// Package sink POSTs CloudEvents to a Broker or to ingest over pooled connections.
package sink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"

	"pitboss/internal/cehttp"
)

// Client POSTs to one URL.
type Client struct {
	url  string
	http *http.Client
}

// New returns a client for url. timeout bounds one POST, and conns the number of idle
// connections.
func New(url string, timeout time.Duration, conns int) *Client {
	return &Client{url: url, http: &http.Client{
		Timeout: timeout,
		Transport: &http.Transport{
			DialContext:  (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
			MaxIdleConns: conns, MaxIdleConnsPerHost: conns, IdleConnTimeout: 20 * time.Second,
		},
	}}
}

// Refused is a final answer (4xx other than 408, 425 and 429): another POST would be refused
// again.
type Refused struct {
	Status int
	Body   string // at most 4 KiB; from ingest, a problem document
}

// AboutTheEvent reports whether the event itself is wrong. Any other 4xx, such as a 404, is
// about the sender's address or permission: a fault that somebody will correct, until which
// the sender should keep the event.
func (e *Refused) AboutTheEvent() bool {
	switch e.Status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType,
		http.StatusUnprocessableEntity, http.StatusRequestHeaderFieldsTooLarge:
		return true
	}
	return false
}

func (e *Refused) Error() string { return fmt.Sprintf("sink: refused with %d: %s", e.Status, e.Body) }

// Post sends e in HTTP binary mode and returns nil once it is acknowledged with 2xx. A
// [*Refused] is final. Any other error is worth a retry.
func (c *Client) Post(ctx context.Context, e *ce.Event) error {
	req, err := cehttp.NewRequest(ctx, c.url, e)
	if err != nil {
		return fmt.Errorf("sink: encode: %w", err)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("sink: post: %w", err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(res.Body, 4096))
	switch s := res.StatusCode; {
	case s/100 == 2:
		return nil
	case s/100 == 4 && s != http.StatusRequestTimeout && s != http.StatusTooEarly && s != http.StatusTooManyRequests:
		return &Refused{Status: s, Body: strings.TrimSpace(string(body))}
	default:
		return fmt.Errorf("sink: answered %s", res.Status)
	}
}

// PostRetry repeats Post with growing pauses (50 ms to 2 s) until the event is acknowledged or
// refused, or ctx ends.
func (c *Client) PostRetry(ctx context.Context, e *ce.Event) error {
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		err := c.Post(ctx, e)
		var refused *Refused
		if err == nil || errors.As(err, &refused) || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}

// Close closes the idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }
