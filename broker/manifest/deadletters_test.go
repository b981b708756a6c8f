package manifest_test

import (
	"context"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	eventingduckv1 "knative.dev/eventing/pkg/apis/duck/v1"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	duckv1 "knative.dev/pkg/apis/duck/v1"
	"sigs.k8s.io/yaml"

	"pitboss/broker/manifest"
	"pitboss/test/kustomize"
)

// Kafka's and RabbitMQ's Brokers drop a dead letter that its sink does not take. So
// no dead-letter sink of these overlays is a Service, which may be down. It is a
// Broker of its own, which one Trigger drains to the console for more than a day.
func TestDeadLettersAreDurable(t *testing.T) {
	t.Parallel()
	for _, class := range []string{"kafka", "rabbitmq"} {
		text, err := kustomize.Render(filepath.Join(root, "broker", class))
		if err != nil {
			t.Fatal(err)
		}
		to, drains := 0, 0
		for _, doc := range strings.Split(string(text), "\n---\n") {
			var kind struct{ Kind string }
			var o eventingv1.Trigger // a Broker's spec.delivery is the same
			if err := yaml.Unmarshal([]byte(doc), &kind); err != nil {
				t.Fatal(err)
			}
			if kind.Kind != "Broker" && kind.Kind != "Trigger" {
				continue
			}
			if err := yaml.Unmarshal([]byte(doc), &o); err != nil {
				t.Fatal(err)
			}
			switch sink := sinkOf(o.Spec.Delivery); {
			case o.Name != deadLetters && sink.Ref != nil && sink.Ref.Kind == "Broker" && sink.Ref.Name == deadLetters && sink.URI == nil:
				to++
			case o.Name == deadLetters && kind.Kind == "Trigger" && o.Spec.Broker == deadLetters:
				drains++
				if _, durable := manifest.RetryTime(o.Spec.Delivery); durable < 24*time.Hour || sink.Ref != nil {
					t.Errorf("%s: the drain retries for %v, and then goes to %+v", class, durable, sink)
				}
			case o.Name != deadLetters:
				t.Errorf("%s: %s %s: dead-letter sink %+v", class, kind.Kind, o.Name, sink)
			}
		}
		if to < 7 || drains != 1 {
			t.Errorf("%s: %d Brokers and Triggers send to %s, %d drain it", class, to, deadLetters, drains)
		}
	}
}

const deadLetters = "pitboss-dead-letters"

func sinkOf(d *eventingduckv1.DeliverySpec) (sink duckv1.Destination) {
	if d != nil && d.DeadLetterSink != nil {
		sink = *d.DeadLetterSink
	}
	return sink
}

// RabbitMQ's dispatcher retries with the CloudEvents SDK: so does this test, in
// virtual time, against a subscriber that is never there.
func TestRabbitMQsBackoffIsTheSDKs(t *testing.T) {
	t.Parallel()
	retry, delay := int32(9), "PT1S"
	for policy, retried := range map[eventingduckv1.BackoffPolicyType]func(context.Context, time.Duration, int) context.Context{
		eventingduckv1.BackoffPolicyExponential: cloudevents.ContextWithRetriesExponentialBackoff,
		eventingduckv1.BackoffPolicyLinear:      cloudevents.ContextWithRetriesLinearBackoff,
	} {
		_, want := manifest.RetryTime(&eventingduckv1.DeliverySpec{Retry: &retry, BackoffPolicy: &policy, BackoffDelay: &delay})
		synctest.Test(t, func(t *testing.T) {
			var subscriber unavailable
			client, err := cloudevents.NewClientHTTP(cehttp.WithRoundTripper(&subscriber))
			if err != nil {
				t.Fatal(err)
			}
			e := cloudevents.NewEvent()
			e.SetID("1")
			e.SetSource("/test")
			e.SetType("test")
			ctx, began := cloudevents.ContextWithTarget(t.Context(), "http://subscriber"), time.Now()
			_, _ = client.Request(retried(ctx, time.Second, int(retry)), e)
			if got := time.Since(began); got != want || subscriber.asked != int(retry)+1 {
				t.Errorf("%s: %v and %d attempts, RetryTime says %v", policy, got, subscriber.asked, want)
			}
		})
	}
}

type unavailable struct{ asked int }

func (u *unavailable) RoundTrip(*http.Request) (*http.Response, error) {
	u.asked++
	return &http.Response{StatusCode: http.StatusServiceUnavailable, Body: http.NoBody}, nil
}

// As the comment in broker/base/broker.yaml has it.
func TestRetryTime(t *testing.T) {
	t.Parallel()
	b, err := manifest.Broker(filepath.Join(root, "broker", "base", "broker.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if knative, durable := manifest.RetryTime(b.Spec.Delivery); knative.Round(time.Second) != 3*time.Minute+25*time.Second || durable.Round(time.Second) != 6*time.Minute+49*time.Second {
		t.Errorf("%v, %v", knative, durable)
	}
	linear, n, delay := eventingduckv1.BackoffPolicyLinear, int32(3), "PT1S"
	if knative, durable := manifest.RetryTime(&eventingduckv1.DeliverySpec{Retry: &n, BackoffPolicy: &linear, BackoffDelay: &delay}); knative != 3*time.Second || durable != 6*time.Second {
		t.Errorf("linear: %v, %v", knative, durable)
	}
}
