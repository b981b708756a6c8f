package broker

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	cesql "github.com/cloudevents/sdk-go/sql/v2"
	cesqlparser "github.com/cloudevents/sdk-go/sql/v2/parser"
	ce "github.com/cloudevents/sdk-go/v2/event"
	"knative.dev/eventing/pkg/eventfilter"

	"pitboss/broker/spec"
)

// filter applies a filter of Knative's subscriptions API to a message. Knative's own
// filters (knative.dev/eventing/pkg/eventfilter/subscriptionsapi) are not used: they
// depend on Kubernetes' client and need an sdk-go event for every message. A test
// compares the two on random events.
type filter func(*message) eventfilter.FilterResult

// allOf passes if every filter passes, as a Trigger's spec.filters requires.
func allOf(specs spec.Filters) filter { return until(eventfilter.FailFilter, specs) }

func anyOf(specs spec.Filters) filter { return until(eventfilter.PassFilter, specs) }

// until runs the filters in order and stops at the first one with the deciding result.
func until(decides eventfilter.FilterResult, specs spec.Filters) filter {
	filters := filtersOf(specs)
	return func(m *message) eventfilter.FilterResult {
		result := eventfilter.NoFilter
		for _, f := range filters {
			if result = f(m); result == decides {
				break
			}
		}
		return result
	}
}

func filtersOf(specs spec.Filters) (out []filter) {
	for _, s := range specs {
		switch {
		case len(s.All) > 0:
			out = append(out, allOf(s.All))
		case len(s.Any) > 0:
			out = append(out, anyOf(s.Any))
		case s.Not != nil:
			out = append(out, not(allOf(spec.Filters{*s.Not})))
		case empty(s.Exact) || empty(s.Prefix) || empty(s.Suffix): // Knative ignores such a filter
		case len(s.Exact) > 0:
			out = append(out, every(s.Exact, func(value, want string) bool { return value == want }))
		case len(s.Prefix) > 0:
			out = append(out, every(s.Prefix, strings.HasPrefix))
		case len(s.Suffix) > 0:
			out = append(out, every(s.Suffix, strings.HasSuffix))
		case s.CESQL != "":
			if expression, err := cesqlparser.Parse(s.CESQL); err == nil { // the manifest was checked
				out = append(out, query(expression))
			}
		}
	}
	return out
}

// empty reports whether one of the attributes has an empty value.
func empty(attributes map[string]string) bool {
	return slices.Contains(slices.Collect(maps.Values(attributes)), "")
}

func not(f filter) filter {
	return func(m *message) eventfilter.FilterResult {
		switch f(m) {
		case eventfilter.FailFilter:
			return eventfilter.PassFilter
		case eventfilter.PassFilter:
			return eventfilter.FailFilter
		}
		return eventfilter.NoFilter
	}
}

// every passes if the message has each attribute and its value matches.
func every(attributes map[string]string, matches func(value, want string) bool) filter {
	return func(m *message) eventfilter.FilterResult {
		for name, want := range attributes {
			if value, ok := m.lookup(name); !ok || !matches(value, want) {
				return eventfilter.FailFilter
			}
		}
		return eventfilter.PassFilter
	}
}

// query passes if the CESQL expression is true of the event.
func query(expression cesql.Expression) filter {
	return func(m *message) eventfilter.FilterResult {
		if v, err := expression.Evaluate(m.event()); err != nil || v != true {
			return eventfilter.FailFilter
		}
		return eventfilter.PassFilter
	}
}

// exactly returns a Trigger's spec.filter: each attribute must have this value; ""
// stands for any value.
func exactly(attributes map[string]string) func(*message) bool {
	return func(m *message) bool {
		for name, want := range attributes {
			value, ok := m.lookup(name)
			if !ok || want == "" && value == "" || want != "" && want != value {
				return false
			}
		}
		return true
	}
}

// lookup returns an attribute as a filter sees it. It reads the common attributes
// from the message; the others go through an sdk-go event, which formats them.
func (m *message) lookup(name string) (value string, ok bool) {
	if m.attrs[1] != ce.CloudEventsVersionV1 {
		return lookupIn(m.event(), name)
	}
	switch name {
	case "type", "id", "subject":
		return strings.TrimSpace(m.attribute(name)), true
	case specversion, "source", "time", "dataschema", "schemaurl", "datacontenttype", "datamediatype", "datacontentencoding":
		return lookupIn(m.event(), name)
	}
	value = m.attribute(name)
	return value, value != ""
}

func lookupIn(e ce.Event, name string) (value string, ok bool) {
	switch name {
	case specversion:
		return e.SpecVersion(), true
	case "type":
		return e.Type(), true
	case "source":
		return e.Source(), true
	case "subject":
		return e.Subject(), true
	case "id":
		return e.ID(), true
	case "time":
		text, err := e.Time().MarshalText()
		return string(text), err == nil
	case "dataschema", "schemaurl":
		return e.DataSchema(), true
	case "datacontenttype":
		return e.DataContentType(), true
	case "datamediatype":
		return e.DataMediaType(), true
	case "datacontentencoding":
		return e.DeprecatedDataContentEncoding(), true
	}
	v, ok := e.Extensions()[name]
	return fmt.Sprint(v), ok
}
