package manifest

import (
	"context"
	"fmt"
	"os"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	eventingv1beta3 "knative.dev/eventing/pkg/apis/eventing/v1beta3"
	sourcesv1 "knative.dev/eventing/pkg/apis/sources/v1"
	"knative.dev/pkg/apis"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"pitboss/broker/spec"
)

// kinds maps apiVersion/kind to the Go type with which a cluster decodes it. A type
// that is apis.Validatable is also validated, and a Knative type gets its defaults.
var kinds = map[string]func() any{
	"eventing.knative.dev/v1/Broker":                     func() any { return &eventingv1.Broker{} },
	"eventing.knative.dev/v1/Trigger":                    func() any { return &eventingv1.Trigger{} },
	"eventing.knative.dev/v1beta3/EventType":             func() any { return &eventingv1beta3.EventType{} },
	"sources.knative.dev/v1/SinkBinding":                 func() any { return &sourcesv1.SinkBinding{} },
	"sources.knative.dev/v1/PingSource":                  func() any { return &sourcesv1.PingSource{} },
	"serving.knative.dev/v1/Service":                     func() any { return &servingv1.Service{} },
	"eventing.knative.dev/v1alpha1/RabbitmqBrokerConfig": func() any { return &rabbitmqBrokerConfig{} },
	"networking.k8s.io/v1/NetworkPolicy":                 func() any { return &networkingv1.NetworkPolicy{} },
	"networking.k8s.io/v1/Ingress":                       func() any { return &networkingv1.Ingress{} },
	"v1/Service":                                         func() any { return &corev1.Service{} },
	"policy/v1/PodDisruptionBudget":                      func() any { return &policyv1.PodDisruptionBudget{} },
	"batch/v1/CronJob":                                   func() any { return &batchv1.CronJob{} },
	"v1/PersistentVolumeClaim":                           func() any { return &corev1.PersistentVolumeClaim{} },
	"v1/ServiceAccount":                                  func() any { return &corev1.ServiceAccount{} },
	"v1/ConfigMap":                                       func() any { return &corev1.ConfigMap{} },
	"v1/Secret":                                          func() any { return &corev1.Secret{} },
	"kustomize.config.k8s.io/v1beta1/Kustomization":      func() any { return &kustomization{} },
	"kustomize.config.k8s.io/v1alpha1/Component":         func() any { return &kustomization{} },
}

// rabbitmqBrokerConfig is the configuration of the RabbitMQ Broker (knative.dev/
// eventing-rabbitmq, v1alpha1). Pitboss does not depend on that module.
type rabbitmqBrokerConfig struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		RabbitmqClusterReference *struct {
			Name             string                       `json:"name,omitempty"`
			Namespace        string                       `json:"namespace,omitempty"`
			ConnectionSecret *corev1.LocalObjectReference `json:"connectionSecret,omitempty"`
		} `json:"rabbitmqClusterReference"`
		QueueType string `json:"queueType,omitempty"` // quorum | classic
		VHost     string `json:"vhost,omitempty"`
	} `json:"spec"`
}

// kustomization is the part of kustomize's format that this project uses.
type kustomization struct {
	metav1.TypeMeta `json:",inline"`
	Resources       []string `json:"resources,omitempty"`
	Components      []string `json:"components,omitempty"`
	Patches         []struct {
		Path   string         `json:"path,omitempty"`
		Patch  string         `json:"patch,omitempty"`
		Target map[string]any `json:"target,omitempty"`
	} `json:"patches,omitempty"`
	Images []struct {
		Name    string `json:"name"`
		NewName string `json:"newName,omitempty"`
		NewTag  string `json:"newTag,omitempty"`
		Digest  string `json:"digest,omitempty"`
	} `json:"images,omitempty"`
}

// CheckFile decodes every document of a manifest strictly with the cluster's type
// for it, and runs that type's validation.
func CheckFile(file string) Problems {
	raw, err := os.ReadFile(file)
	if err != nil {
		return spec.AsProblems(file, err)
	}
	return Check(file, raw)
}

// Check is [CheckFile] for text in memory, e.g. the output of kustomize.
func Check(name string, text []byte) Problems {
	docs, err := spec.Split(name, text)
	if err != nil {
		return spec.AsProblems(name, err)
	}
	var ps Problems
	for _, doc := range docs {
		ps = append(ps, checkDocument(name, doc)...)
	}
	return ps
}

func checkDocument(file string, doc spec.Document) Problems {
	newObj, ok := kinds[doc.APIVersion+"/"+doc.Kind]
	if !ok {
		return Problems{{File: file, Where: "kind", Detail: fmt.Sprintf("%s %s is not a kind this project deploys", doc.APIVersion, doc.Kind), Remedy: "correct apiVersion and kind, or add the kind to broker/manifest/kinds.go"}}
	}
	obj := newObj()
	if o, ok := obj.(object); ok {
		return problemsOrNone(file, decode(file, doc, o))
	}
	if err := spec.Unmarshal(doc.Text, obj); err != nil {
		return Problems{spec.Undecodable(file, doc.Text, obj, err, seeReference)}
	}
	if v, ok := obj.(apis.Validatable); ok {
		if fe := v.Validate(context.Background()).Filter(apis.ErrorLevel); fe != nil {
			return fieldProblems(file, fe)
		}
	}
	return nil
}

func problemsOrNone(file string, err error) Problems {
	if err == nil {
		return nil
	}
	return spec.AsProblems(file, err)
}
