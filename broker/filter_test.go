package broker

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"go.uber.org/zap"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	"knative.dev/eventing/pkg/eventfilter"

	"pitboss/broker/manifest"
)

// anyFilter is a filter at random, of at most so many levels.
func anyFilter(rng *rand.Rand, depth int) eventingv1.SubscriptionsAPIFilter {
	leaf := map[string]string{[]string{"type", "source", "subject", "partitionkey"}[rng.IntN(4)]: []string{"a", "b", "/a", "ab"}[rng.IntN(4)]}
	n := rng.IntN(4)
	if depth > 0 {
		n = rng.IntN(8)
	}
	inner := func() (out []eventingv1.SubscriptionsAPIFilter) {
		for range 1 + rng.IntN(3) {
			out = append(out, anyFilter(rng, depth-1))
		}
		return out
	}
	switch n {
	case 0:
		return eventingv1.SubscriptionsAPIFilter{Exact: leaf}
	case 1:
		return eventingv1.SubscriptionsAPIFilter{Prefix: leaf}
	case 2:
		return eventingv1.SubscriptionsAPIFilter{Suffix: leaf}
	case 3:
		return eventingv1.SubscriptionsAPIFilter{CESQL: "type = 'a' OR subject = 'b'"}
	case 4, 5:
		return eventingv1.SubscriptionsAPIFilter{All: inner()}
	case 6:
		return eventingv1.SubscriptionsAPIFilter{Any: inner()}
	}
	not := anyFilter(rng, depth-1)
	return eventingv1.SubscriptionsAPIFilter{Not: &not}
}

// A Trigger's filter says what Knative's says of the whole event, however often
// it was asked about others.
func TestARememberedFilterIsKnatives(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(7, 8))
	pick := func(values ...string) string { return values[rng.IntN(len(values))] }
	for range 400 {
		m := manifest.Trigger{Trigger: &eventingv1.Trigger{}}
		for range 1 + rng.IntN(2) {
			m.Spec.Filters = append(m.Spec.Filters, anyFilter(rng, 2))
		}
		tr := &trigger{b: &Broker{cfg: Config{Logger: zap.NewNop()}}, ctx: context.Background()}
		tr.setFilter(m)
		knative := allOf(zap.NewNop(), m.Spec.Filters)
		for range 60 {
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
			msg, err := messageOf(&e, nil)
			if err != nil {
				t.Fatal(err)
			}
			got := (tr.typ == "" || tr.typ == e.Type()) && (tr.filter == nil || tr.filter(msg))
			if want := knative.Filter(context.Background(), e) != eventfilter.FailFilter; got != want {
				t.Fatalf("%s: %v, Knative says %v of %s", fmt.Sprintf("%+v", m.Spec.Filters), got, want, e)
			}
		}
	}
}
