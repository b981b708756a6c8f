// Package manifest reads the project's Kubernetes manifests with Knative's types,
// as strictly as a cluster's API server and Knative's webhook: it refuses an unknown
// or repeated field, sets the defaults and calls each type's Validate.
//
// It reports a mistake as a [Problem]: the file, the field, the mistake, the remedy.
package manifest

import (
	"context"
	"fmt"
	"strings"

	duckv1 "knative.dev/eventing/pkg/apis/duck/v1"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"knative.dev/eventing/pkg/apis/config"
	"knative.dev/pkg/apis"
	"knative.dev/pkg/ptr"

	"pitboss/broker/spec"
)

// Problem is one mistake in a manifest.
type Problem = spec.Problem

// Problems lists the mistakes found.
type Problems = spec.Problems

// Trigger is a Trigger and the file it came from.
type Trigger struct {
	File string
	*eventingv1.Trigger
}

// Context returns a ctx for SetDefaults and Validate with the defaults of the
// config-br-defaults ConfigMap that Knative ships.
func Context(ctx context.Context) context.Context {
	exponential := duckv1.BackoffPolicyExponential
	return config.ToContext(ctx, &config.Config{Defaults: &config.Defaults{
		ClusterDefaultConfig: &config.DefaultConfig{
			DefaultBrokerClass: "MTChannelBasedBroker",
			BrokerConfig: &config.BrokerConfig{Delivery: &duckv1.DeliverySpec{
				Retry: ptr.Int32(10), BackoffPolicy: &exponential, BackoffDelay: ptr.String("PT0.2S"),
			}},
		},
	}})
}

// Broker reads the one Broker that file holds.
func Broker(file string) (*eventingv1.Broker, error) {
	doc, err := spec.BrokerIn(file)
	if err != nil {
		return nil, err
	}
	b := &eventingv1.Broker{}
	if err := eventing(file, doc, b); err != nil {
		return nil, err
	}
	return b, nil
}

// Triggers reads the Triggers of the Broker called broker, as [spec.EachTrigger] does.
func Triggers(broker string, dirs ...string) (out []Trigger, err error) {
	err = spec.EachTrigger(dirs, func(file string, doc spec.Document) error {
		t := &eventingv1.Trigger{}
		if err := eventing(file, doc, t); err != nil {
			return err
		}
		if t.Spec.Broker != broker {
			return spec.OtherBroker(file, t.Spec.Broker, broker)
		}
		out = append(out, Trigger{File: file, Trigger: t})
		return nil
	})
	return out, err
}

// eventing decodes a Broker or a Trigger.
func eventing(file string, doc spec.Document, obj object) error {
	if doc.APIVersion != spec.Version {
		return &Problem{File: file, Where: "apiVersion", Detail: fmt.Sprintf("is %q", doc.APIVersion), Remedy: "apiVersion: " + spec.Version}
	}
	return decode(file, doc, obj)
}

// object is the interface between a Knative type and its webhook.
type object interface {
	apis.Defaultable
	apis.Validatable
}

const seeReference = "see the type's reference for its fields"

// decode reads doc into obj, sets its defaults and validates it, as the webhook does
// on creation.
func decode(file string, doc spec.Document, obj object) error {
	if err := spec.Unmarshal(doc.Text, obj); err != nil {
		return spec.Undecodable(file, doc.Text, obj, err, seeReference)
	}
	if doc.Name == "" {
		return &Problem{File: file, Where: "metadata.name", Detail: "is missing"}
	}
	return validate(file, obj)
}

// validate sets obj's defaults and calls its Validate.
func validate(file string, obj object) error {
	if o, ok := obj.(metav1.Object); ok && o.GetNamespace() == "" {
		o.SetNamespace("default") // as the API server does before it calls the webhook
	}
	ctx := apis.WithinCreate(Context(context.Background()))
	obj.SetDefaults(ctx)
	if fe := obj.Validate(ctx).Filter(apis.ErrorLevel); fe != nil {
		return fieldProblems(file, fe).Err()
	}
	return nil
}

func fieldProblems(file string, fe *apis.FieldError) Problems {
	var out Problems
	for _, one := range fe.WrappedErrors() {
		field := strings.Join(one.Paths, ", ")
		out = append(out, &Problem{File: file, Where: field, Detail: one.Message, Remedy: one.Details})
	}
	return out
}
