package manifest_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	eventingduckv1 "knative.dev/eventing/pkg/apis/duck/v1"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	"sigs.k8s.io/yaml"

	"pitboss/broker/manifest"
	"pitboss/test/kustomize"
)

// On Kafka a dead letter that its sink does not take is gone. So no dead-letter
// sink of the overlay is a Service, which may be down: they are a Broker of their
// own, which is drained to the console for longer than a weekend's night.
func TestKafkasDeadLettersAreDurable(t *testing.T) {
	t.Parallel()
	text, err := kustomize.Render(filepath.Join(root, "broker", "kafka"))
	if err != nil {
		t.Fatal(err)
	}
	to := 0
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
		if o.Name == "pitboss-dead-letters" {
			_, kafka := manifest.RetryTime(o.Spec.Delivery)
			if kind.Kind == "Trigger" && (kafka < 24*time.Hour || o.Spec.Delivery.DeadLetterSink != nil || o.Spec.Broker != o.Name) {
				t.Errorf("the drain: %v of retries, %+v", kafka, o.Spec)
			}
			continue
		}
		sink := o.Spec.Delivery.DeadLetterSink
		if sink == nil || sink.Ref == nil || sink.Ref.Kind != "Broker" || sink.Ref.Name != "pitboss-dead-letters" || sink.URI != nil {
			t.Errorf("%s %s: dead-letter sink %+v", kind.Kind, o.Name, sink)
		}
		to++
	}
	if to < 7 {
		t.Errorf("%d Brokers and Triggers", to)
	}
}

// As the comment in broker/base/broker.yaml has it.
func TestRetryTime(t *testing.T) {
	t.Parallel()
	b, err := manifest.Broker(filepath.Join(root, "broker", "base", "broker.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if knative, kafka := manifest.RetryTime(b.Spec.Delivery); knative.Round(time.Second) != 3*time.Minute+25*time.Second || kafka.Round(time.Second) != 6*time.Minute+49*time.Second {
		t.Errorf("%v, %v", knative, kafka)
	}
	linear, n, delay := eventingduckv1.BackoffPolicyLinear, int32(3), "PT1S"
	if knative, kafka := manifest.RetryTime(&eventingduckv1.DeliverySpec{Retry: &n, BackoffPolicy: &linear, BackoffDelay: &delay}); knative != 3*time.Second || kafka != 6*time.Second {
		t.Errorf("linear: %v, %v", knative, kafka)
	}
}
