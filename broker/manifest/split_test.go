package manifest_test

import (
	"context"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"go.uber.org/zap"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	"knative.dev/eventing/pkg/eventfilter"
	"knative.dev/eventing/pkg/eventfilter/attributes"
	"knative.dev/eventing/pkg/eventfilter/subscriptionsapi"
	"sigs.k8s.io/yaml"

	"pitboss/internal/event"
	"pitboss/test/kustomize"
)

// Every overlay brings each function the same events, asked of Knative's own
// filters: spec.filters on Kafka and in memory, spec.filter alone on RabbitMQ.
func TestEveryOverlayRoutesTheSameEvents(t *testing.T) {
	t.Parallel()
	const spares = "pitboss-profile" // its filter only spares calls, and RabbitMQ ignores it
	rabbit := overlayTriggers(t, "rabbitmq")
	for _, class := range []string{"kafka", "in-memory"} {
		triggers := overlayTriggers(t, class)
		if len(triggers) > len(rabbit)/2 {
			t.Errorf("%s has %d Triggers, rabbitmq %d", class, len(triggers), len(rabbit))
		}
		for _, e := range everyEvent() {
			want, got := reached(triggers, e, subscriptions), reached(rabbit, e, exactly)
			delete(want, spares)
			delete(got, spares)
			if !maps.Equal(want, got) {
				t.Errorf("%s %v: %s reaches %v, rabbitmq %v", e.Type(), e.Extensions(), class, slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got)))
			}
		}
	}
}

func overlayTriggers(t *testing.T, class string) (out []*eventingv1.Trigger) {
	text, err := kustomize.Render(filepath.Join(root, "broker", class))
	if err != nil {
		t.Fatal(err)
	}
	for _, doc := range strings.Split(string(text), "\n---\n") {
		if !strings.Contains(doc, "\nkind: Trigger\n") {
			continue
		}
		var trigger eventingv1.Trigger
		if err := yaml.UnmarshalStrict([]byte(doc), &trigger); err != nil {
			t.Fatal(err)
		}
		if trigger.Spec.Broker == "pitboss" {
			out = append(out, &trigger)
		}
	}
	return out
}

// everyEvent is one of each type, with and without what Triggers ask for besides.
func everyEvent() (out []ce.Event) {
	for _, i := range event.Types() {
		for _, extensions := range []map[string]string{{}, {event.ExtArm: "explore"}, {event.ExtReview: "true"}, {event.ExtArm: "explore", event.ExtReview: "true"}, {event.ExtArm: "rank", event.ExtReview: "false"}} {
			e := ce.New()
			e.SetID("1")
			e.SetSource("/test")
			e.SetType(i.Type)
			for name, value := range extensions {
				e.SetExtension(name, value)
			}
			out = append(out, e)
		}
	}
	return out
}

func reached(triggers []*eventingv1.Trigger, e ce.Event, filter func(*eventingv1.Trigger, ce.Event) eventfilter.FilterResult) map[string]bool {
	out := map[string]bool{}
	for _, t := range triggers {
		if filter(t, e) != eventfilter.FailFilter {
			out[t.Spec.Subscriber.Ref.Name] = true
		}
	}
	return out
}

func exactly(t *eventingv1.Trigger, e ce.Event) eventfilter.FilterResult {
	if t.Spec.Filter == nil {
		return eventfilter.NoFilter
	}
	return attributes.NewAttributesFilter(t.Spec.Filter.Attributes).Filter(context.Background(), e)
}

func subscriptions(t *eventingv1.Trigger, e ce.Event) eventfilter.FilterResult {
	if len(t.Spec.Filters) == 0 {
		return exactly(t, e)
	}
	return subscriptionsapi.CreateSubscriptionsAPIFilters(zap.NewNop(), t.Spec.Filters).Filter(context.Background(), e)
}
