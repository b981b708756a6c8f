package scenario

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Received is an event as a subscriber received it.
type Received struct {
	Attributes map[string]string // in both modes, with values as text
	Header     http.Header
	Body       []byte
	Structured bool
}

// Target is a Broker implementation that scenarios run against.
type Target interface {
	// Deploy creates the scenario's Broker and Triggers, waits until they are ready, and
	// returns the URL to POST to. subscribers has a URL for each Trigger.
	Deploy(ctx context.Context, s Scenario, subscribers []string, dead string) (url string, err error)
}

const settleDefault = 400 * time.Millisecond

// Run plays a scenario against a target.
func Run(ctx context.Context, target Target, s Scenario) (Outcome, error) {
	r := &recorder{s: s, last: time.Now(), nth: map[string]int{}}
	server, err := r.listen()
	if err != nil {
		return nil, err
	}
	defer server.Close()
	base := "http://" + r.addr
	var subscribers []string
	for _, t := range s.Triggers {
		url := base + "/" + t.Name
		if t.Down {
			if url, err = closedPort(); err != nil {
				return nil, err
			}
			r.down = url
		}
		subscribers = append(subscribers, url)
	}
	r.base = base
	url, err := target.Deploy(ctx, s, subscribers, base+"/dead-letter-sink")
	if err != nil {
		return nil, err
	}
	for i, p := range s.Posts {
		code, err := p.send(ctx, url)
		if err != nil {
			return nil, err
		}
		r.note("POST %d: %d", i+1, code)
	}
	return r.settled(ctx)
}

// send sends the request. It fails if the Broker is not up.
func (p Post) send(ctx context.Context, url string) (int, error) {
	method := p.Method
	if method == "" {
		method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(p.Body))
	if err != nil {
		return 0, fmt.Errorf("scenario: %w", err)
	}
	for k, v := range p.Header {
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, fmt.Errorf("scenario: %w", err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	return resp.StatusCode, nil
}

// closedPort returns a URL at which nobody listens.
func closedPort() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("scenario: %w", err)
	}
	defer ln.Close()
	return "http://" + ln.Addr().String() + "/down", nil
}

// recorder serves all subscribers of a scenario and its dead-letter sink.
type recorder struct {
	s          Scenario
	addr       string
	base, down string // the URL of the subscribers, and one at which nobody listens

	mu    sync.Mutex
	lines Outcome
	nth   map[string]int // attempts by subscriber and event
	last  time.Time
}

func (r *recorder) listen() (*http.Server, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("scenario: %w", err)
	}
	r.addr = ln.Addr().String()
	server := &http.Server{Handler: r, ReadHeaderTimeout: 5 * time.Second}
	go server.Serve(ln)
	return server, nil
}

func (r *recorder) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
	r.last = time.Now()
}

// ServeHTTP records the delivery and answers as the scenario says.
func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	name := strings.Trim(req.URL.Path, "/")
	e, err := receive(req)
	if err != nil {
		r.note("%s: not an event: %v", name, err)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	key := name + "\x00" + e.Attributes["source"] + "\x00" + e.Attributes["id"]
	r.mu.Lock()
	r.nth[key]++
	nth := r.nth[key]
	r.mu.Unlock()
	r.note("%s: attempt %d: %s", name, nth, r.words(e))
	for _, t := range r.s.Triggers {
		if t.Name == name && t.Answer != nil {
			t.Answer(w, e, nth)
		}
	}
}

// settled waits until nothing has come for a while.
func (r *recorder) settled(ctx context.Context) (Outcome, error) {
	quiet := r.s.Settle
	if quiet == 0 {
		quiet = settleDefault
	}
	for {
		r.mu.Lock()
		left := quiet - time.Since(r.last)
		lines := append(Outcome(nil), r.lines...)
		r.mu.Unlock()
		if left <= 0 {
			sort.Strings(lines)
			return lines, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("scenario %s: %w", r.s.Name, ctx.Err())
		case <-time.After(left):
		}
	}
}

// receive reads an event in either mode.
func receive(req *http.Request) (Received, error) {
	var body bytes.Buffer
	if _, err := body.ReadFrom(req.Body); err != nil {
		return Received{}, fmt.Errorf("scenario: %w", err)
	}
	e := Received{Attributes: map[string]string{}, Header: req.Header, Body: body.Bytes()}
	if strings.HasPrefix(req.Header.Get("Content-Type"), "application/cloudevents+json") {
		e.Structured = true
		return e, nil
	}
	for k, v := range req.Header {
		if name, ok := strings.CutPrefix(strings.ToLower(k), "ce-"); ok {
			e.Attributes[name] = strings.Join(v, ",")
		}
	}
	if e.Attributes["specversion"] == "" {
		return e, fmt.Errorf("no ce-specversion")
	}
	return e, nil
}

// words describes the event: its attributes, the headers that are passed on, and its data.
func (r *recorder) words(e Received) string {
	var parts []string
	for name, v := range e.Attributes {
		if name == "traceparent" && !strings.Contains(v, postedTrace) {
			continue // the Broker began a trace: the one-machine Broker in an attribute, Knative in a header if configured
		}
		parts = append(parts, name+"="+r.value(name, v, e.Attributes))
	}
	for _, h := range []string{"Content-Type", "X-Request-Id", "X-B3-Traceid", "Knative-Test", "X-Other", "Prefer"} {
		if h == "Prefer" && e.Attributes["knativeerrorcode"] != "" {
			continue // the one-machine Broker also accepts a reply of a dead-letter sink, and ignores it
		}
		if v := e.Header.Get(h); v != "" {
			parts = append(parts, h+": "+v)
		}
	}
	sort.Strings(parts)
	body := string(e.Body)
	if e.Structured {
		body = "structured" // only the mode is compared, since the order of members is free
	}
	return strings.Join(parts, " ") + " | " + strconv.Quote(body)
}

// value is an attribute's value without parts that differ from run to run or only name the
// Broker.
func (r *recorder) value(name, v string, all map[string]string) string {
	dest := r.overHTTP(all["knativeerrordest"])
	bySubscriber := strings.HasPrefix(dest, r.base)
	switch name {
	case "knativearrivaltime":
		return "set"
	case "knativeerrordest":
		switch {
		case bySubscriber:
			return strings.Replace(dest, r.base, "SUBSCRIBER", 1)
		case v == r.down:
			return "DOWN"
		}
		return "BROKER" // its ingress refused the reply
	case "knativeerrordata":
		text, err := base64.StdEncoding.DecodeString(v)
		if err != nil || !bySubscriber {
			return "(its own words)"
		}
		return fmt.Sprintf("(%d bytes) %.60s", len(text), text)
	}
	return v
}

// overHTTP returns a subscriber's URL, even for a subscriber in the Broker's process.
func (r *recorder) overHTTP(dest string) string {
	if name, ok := strings.CutPrefix(dest, "http://"+service("")); ok {
		return r.base + "/" + strings.TrimSuffix(name, "/")
	}
	return dest
}

// service returns the name of a subscriber in the Broker's process.
func service(trigger string) string { return "pitboss-" + trigger }
