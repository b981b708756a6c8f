// Package scenario is a table of what a Broker does with events. The same code runs it
// against the one-machine Broker (in go test) and against a Knative control plane (make
// conformance). It describes what each subscriber received in lines of text, so that two
// Brokers can be compared line by line.
package scenario

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	"sigs.k8s.io/yaml"
)

// Scenario is one Broker with its Triggers, and the events POSTed to it.
type Scenario struct {
	Name string // DNS label; also the Broker's name
	// Delivery is the Broker's spec.delivery, YAML; "" = none. DEAD stands for
	// the URL of the dead-letter sink.
	Delivery string
	Triggers []Trigger
	Posts    []Post
	// Settle is how long to wait for further deliveries after the last one; 0 = 400 ms. It
	// must be longer than the longest backoff.
	Settle time.Duration
	// Known says how Knative's multi-tenant Broker with the in-memory channel differs, and
	// why neither is at fault; "" = both must be equal.
	Known string
	// OverHTTP says why the scenario does not apply to functions in the Broker's process;
	// "" = it must be equal there, too.
	OverHTTP string
	// Alone says why the scenario runs on the one-machine Broker only; "" = on both.
	Alone string
}

// Trigger is one Trigger and how its subscriber answers.
type Trigger struct {
	Name string
	// Spec is the rest of the Trigger's spec, YAML: filter, filters, delivery.
	Spec string
	// Answer answers the nth attempt (from 1) for an event; nil = 200, empty. With Down,
	// nobody listens at the subscriber's address.
	Answer func(w http.ResponseWriter, e Received, nth int)
	Down   bool
}

// Post is one request to the Broker. Path is appended to its URL.
type Post struct {
	Method string // "" = POST
	Header map[string]string
	Body   string
}

// event is a POST in binary mode. pairs are additional headers.
func event(id, typ string, pairs ...string) Post {
	p := Post{Header: map[string]string{"Ce-Specversion": "1.0", "Ce-Id": id, "Ce-Type": typ, "Ce-Source": "/scenario", "Content-Type": "application/json"}, Body: `{"n":1}`}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			delete(p.Header, pairs[i])
			continue
		}
		p.Header[pairs[i]] = pairs[i+1]
	}
	return p
}

func (p Post) with(body string) Post {
	p.Body = body
	return p
}

// Outcome describes what happened: one line for each POST, delivery attempt and dead
// letter, sorted where the order does not matter.
type Outcome []string

// String joins the lines.
func (o Outcome) String() string { return strings.Join(o, "\n") }

// Broker returns the scenario's Broker. dead is the URL of its dead-letter sink.
func (s Scenario) Broker(dead string) (*eventingv1.Broker, error) {
	b := &eventingv1.Broker{}
	b.APIVersion, b.Kind, b.Name = "eventing.knative.dev/v1", "Broker", s.Name
	return b, decode(strings.ReplaceAll(s.Delivery, "DEAD", dead), &b.Spec)
}

// Trigger returns the scenario's ith Trigger, with its subscriber's URL.
func (s Scenario) Trigger(i int, subscriber, dead string) (*eventingv1.Trigger, error) {
	t := &eventingv1.Trigger{}
	t.APIVersion, t.Kind, t.Name = "eventing.knative.dev/v1", "Trigger", s.Name+"-"+s.Triggers[i].Name
	t.Spec.Broker = s.Name
	spec := strings.ReplaceAll(s.Triggers[i].Spec, "DEAD", dead) + "\nsubscriber: {uri: \"" + subscriber + "\"}\n"
	return t, decode(spec, &t.Spec)
}

func decode(text string, into any) error {
	if err := yaml.UnmarshalStrict([]byte(text), into); err != nil {
		return fmt.Errorf("scenario: %w", err)
	}
	return nil
}

// Differ lists the lines that only one of two outcomes has: - for a, + for b.
func Differ(a, b Outcome) []string {
	count := map[string]int{}
	for _, l := range a {
		count[l]++
	}
	for _, l := range b {
		count[l]--
	}
	var out []string
	for l, n := range count {
		for ; n > 0; n-- {
			out = append(out, "- "+l)
		}
		for ; n < 0; n++ {
			out = append(out, "+ "+l)
		}
	}
	slices.Sort(out)
	return out
}
