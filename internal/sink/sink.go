// Package sink POSTs CloudEvents to a Broker (or to ingest) over pooled
// connections: what the edge functions, replay and the simulator share.
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

// New returns a client for url; timeout bounds one POST, conns how many
// connections it keeps open.
func New(url string, timeout time.Duration, conns int) *Client {
	return &Client{url: url, http: &http.Client{
		Timeout: timeout,
		Transport: &http.Transport{
			DialContext:  (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
			MaxIdleConns: conns, MaxIdleConnsPerHost: conns, IdleConnTimeout: 20 * time.Second,
		},
	}}
}

// Refused is an answer that says the event itself is wrong (4xx other than
// 408, 425 and 429): POSTing it again would be refused again.
type Refused struct {
	Status int
	Body   string // at most 4 KiB, a problem document where ingest answers
}

// AboutTheEvent reports whether the answer means the event. Every other 4xx, such as
// a 404, is an address or a permission of the sender's own: a fault that somebody
// mends, while whoever has the event keeps it.
func (e *Refused) AboutTheEvent() bool {
	switch e.Status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType,
		http.StatusUnprocessableEntity, http.StatusRequestHeaderFieldsTooLarge:
		return true
	}
	return false
}

func (e *Refused) Error() string { return fmt.Sprintf("sink: refused with %d: %s", e.Status, e.Body) }

// Post sends e in HTTP binary mode and returns nil once it is acknowledged
// with 2xx. A [*Refused] is final; any other error is worth a retry.
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

// PostRetry is Post, repeated with growing pauses (50 ms to 2 s) until it is
// acknowledged, refused, or ctx ends.
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

// Close drops the idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }
