// Package scenario is one table of what a Broker does with events, run by the
// same code against the one-machine Broker (in go test) and against a Knative
// control plane (make conformance). What each subscriber received is written
// down in words, so that two Brokers can be compared line by line.
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
	// Settle is how long after the last delivery nothing more may come;
	// 0 = 400 ms. It must be longer than the longest backoff.
	Settle time.Duration
	// Known says in which way Knative's multi-tenant Broker with the in-memory
	// channel is known to differ, and why that is no fault of either; "" = it
	// must be equal.
	Known string
	// OverHTTP says why the scenario has no meaning for a function in the
	// Broker's process; "" = it must be equal there, too.
	OverHTTP string
	// Alone says why the scenario runs on the one-machine Broker only; "" = on both.
	Alone string
}

// Trigger is one Trigger and how its subscriber answers.
type Trigger struct {
	Name string
	// Spec is more of the Trigger's spec, YAML: filter, filters, delivery.
	Spec string
	// Answer answers the nth (1…) attempt for an event; nil = 200, empty. A
	// Trigger with Down has a subscriber that nobody listens at.
	Answer func(w http.ResponseWriter, e Received, nth int)
	Down   bool
}

// Post is one request to the Broker. Path is appended to its URL.
type Post struct {
	Method string // "" = POST
	Header map[string]string
	Body   string
}

// event is a POST in binary mode; pairs are further headers.
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

// Outcome is what happened, in words: one line per POST, delivery attempt and
// dead letter, sorted where order says nothing.
type Outcome []string

// String joins the lines.
func (o Outcome) String() string { return strings.Join(o, "\n") }

// Broker is the scenario's Broker; dead is the URL of its dead-letter sink.
func (s Scenario) Broker(dead string) (*eventingv1.Broker, error) {
	b := &eventingv1.Broker{}
	b.APIVersion, b.Kind, b.Name = "eventing.knative.dev/v1", "Broker", s.Name
	return b, decode(strings.ReplaceAll(s.Delivery, "DEAD", dead), &b.Spec)
}

// Trigger is the scenario's ith Trigger with the URL of its subscriber.
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

// Differ lists the lines that only one of two outcomes has, - for a, + for b.
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
