package broker

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"testing"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"go.uber.org/zap"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	"knative.dev/eventing/pkg/eventfilter"
	"knative.dev/eventing/pkg/eventfilter/attributes"
	"knative.dev/eventing/pkg/eventfilter/subscriptionsapi"

	"pitboss/broker/spec"
)

// anyFilter is a filter at random, of at most so many levels.
func anyFilter(rng *rand.Rand, depth int) spec.Filter {
	leaf := map[string]string{[]string{"type", "source", "subject", "partitionkey", "time", "datamediatype"}[rng.IntN(6)]: []string{"a", "b", "/a", "ab", ""}[rng.IntN(5)]}
	n := rng.IntN(4)
	if depth > 0 {
		n = rng.IntN(8)
	}
	inner := func() (out spec.Filters) {
		for range 1 + rng.IntN(3) {
			out = append(out, anyFilter(rng, depth-1))
		}
		return out
	}
	switch n {
	case 0:
		return spec.Filter{Exact: leaf}
	case 1:
		return spec.Filter{Prefix: leaf}
	case 2:
		return spec.Filter{Suffix: leaf}
	case 3:
		return spec.Filter{CESQL: "type = 'a' OR subject = 'b'"}
	case 4, 5:
		return spec.Filter{All: inner()}
	case 6:
		return spec.Filter{Any: inner()}
	}
	not := anyFilter(rng, depth-1)
	return spec.Filter{Not: &not}
}

// knatives is what Knative's leaves say, in the loops of its own. Knative's
// loops have a goroutine reorder the filters by their hits without a lock
// against the readers (eventing v0.50.0), which the race detector refuses.
func knatives(s eventingv1.SubscriptionsAPIFilter, e ce.Event) eventfilter.FilterResult {
	loop := func(filters []eventingv1.SubscriptionsAPIFilter, until eventfilter.FilterResult) eventfilter.FilterResult {
		result := eventfilter.NoFilter
		for _, f := range filters {
			if leafless(f) {
				continue
			}
			if result = knatives(f, e); result == until {
				break
			}
		}
		return result
	}
	switch {
	case len(s.All) > 0:
		return loop(s.All, eventfilter.FailFilter)
	case len(s.Any) > 0:
		return loop(s.Any, eventfilter.PassFilter)
	case s.Not != nil:
		switch loop([]eventingv1.SubscriptionsAPIFilter{*s.Not}, eventfilter.FailFilter) {
		case eventfilter.FailFilter:
			return eventfilter.PassFilter
		case eventfilter.PassFilter:
			return eventfilter.FailFilter
		}
		return eventfilter.NoFilter
	}
	return subscriptionsapi.MaterializeSubscriptionsAPIFilter(zap.NewNop(), s).Filter(context.Background(), e)
}

// leafless is a leaf of which Knative makes no filter.
func leafless(s eventingv1.SubscriptionsAPIFilter) bool {
	return len(s.All) == 0 && len(s.Any) == 0 && s.Not == nil && subscriptionsapi.MaterializeSubscriptionsAPIFilter(zap.NewNop(), s) == nil
}

func anyEvent(rng *rand.Rand) ce.Event {
	pick := func(values ...string) string { return values[rng.IntN(len(values))] }
	e := ce.New()
	e.SetID("1")
	e.SetType(pick("a", "b", "ab", "ba"))
	e.SetSource(pick("/a", "a", "b/a", "b"))
	if s := pick("", "a", "b", "ab"); s != "" {
		e.SetSubject(s)
	}
	if s := pick("", "a", "b"); s != "" {
		e.SetExtension("partitionkey", s)
	}
	return e
}

// A Trigger's filters say what Knative's say.
func TestFiltersAreKnatives(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(7, 8))
	passed := 0
	for range 400 {
		var own spec.Trigger
		for range 1 + rng.IntN(2) {
			own.Spec.Filters = append(own.Spec.Filters, anyFilter(rng, 2))
		}
		text, err := json.Marshal(own.Spec.Filters)
		if err != nil {
			t.Fatal(err)
		}
		var theirs eventingv1.SubscriptionsAPIFilter
		if err := json.Unmarshal(text, &theirs.All); err != nil {
			t.Fatal(err)
		}
		tr := &trigger{}
		tr.setFilter(&own)
		for range 60 {
			e := anyEvent(rng)
			m, err := messageOf(&e, nil)
			if err != nil {
				t.Fatal(err)
			}
			got := (tr.typ == "" || tr.typ == e.Type()) && (tr.filter == nil || tr.filter(m))
			if want := knatives(theirs, e) != eventfilter.FailFilter; got != want {
				t.Fatalf("%s: %v, Knative says %v of %s", text, got, want, e)
			}
			if got {
				passed++
			}
		}
	}
	if passed < 1000 {
		t.Errorf("only %d events passed", passed)
	}
}

// So does spec.filter.
func TestAttributesAreKnatives(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(9, 10))
	names, values := []string{"type", "source", "subject", "partitionkey", "brand", "dataschema"}, []string{"", "a", "b", "/a"}
	for range 5000 {
		attrs := map[string]string{}
		for range 1 + rng.IntN(3) {
			attrs[names[rng.IntN(len(names))]] = values[rng.IntN(len(values))]
		}
		e := anyEvent(rng)
		m, err := messageOf(&e, nil)
		if err != nil {
			t.Fatal(err)
		}
		want := attributes.NewAttributesFilter(attrs).Filter(t.Context(), e) != eventfilter.FailFilter
		if got := exactly(attrs)(m); got != want {
			t.Fatalf("%v: %v, Knative says %v of %s", attrs, got, want, e)
		}
	}
}
