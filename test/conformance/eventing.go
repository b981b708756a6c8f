package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"pitboss/test/scenario"
)

const namespace = "conformance"

var (
	crds     = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	brokers  = schema.GroupVersionResource{Group: "eventing.knative.dev", Version: "v1", Resource: "brokers"}
	triggers = schema.GroupVersionResource{Group: "eventing.knative.dev", Version: "v1", Resource: "triggers"}
)

// manifests lists the YAML files of Knative Eventing's config under a folder.
func (p *plane) manifests(keep func(path string) bool, folders ...string) ([]string, error) {
	var files []string
	for _, folder := range folders {
		root := filepath.Join(p.bin, "src", "knative.dev", "eventing", folder)
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && filepath.Ext(path) == ".yaml" && keep(path) {
				files = append(files, path)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	sort.Strings(files)
	return files, nil
}

// applyEventing applies CRDs and configuration, and writes what the kubelet and the
// controllers that do not run here would write.
func (p *plane) applyEventing(ctx context.Context) error {
	namespaces := fmt.Sprintf("{apiVersion: v1, kind: Namespace, metadata: {name: %s}}\n---\n{apiVersion: v1, kind: Namespace, metadata: {name: %s}}", system, namespace)
	if err := p.api.applyText(ctx, []byte(namespaces)); err != nil {
		return err
	}
	isCRD := func(path string) bool { return strings.Contains(path, "/resources/") }
	files, err := p.manifests(isCRD, "config/core", "config/channels/in-memory-channel")
	if err != nil {
		return err
	}
	if err := p.api.applyFiles(ctx, files); err != nil {
		return err
	}
	if err := wait(ctx, "CRDs", 60*time.Second, p.established); err != nil {
		return err
	}
	rest := func(path string) bool {
		return !isCRD(path) && !strings.Contains(path, "/webhooks/") && !strings.Contains(path, "hpa")
	}
	if files, err = p.manifests(rest, "config/core", "config/channels/in-memory-channel", "config/brokers/mt-channel-broker", "third_party/eventing-integrations-latest"); err != nil {
		return err
	}
	if err := p.api.applyFiles(ctx, files); err != nil {
		return err
	}
	return p.writeEndpoints(ctx)
}

func (p *plane) established(ctx context.Context) error {
	for _, name := range []string{"brokers.eventing.knative.dev", "triggers.eventing.knative.dev", "inmemorychannels.messaging.knative.dev", "subscriptions.messaging.knative.dev"} {
		o, err := p.api.get(ctx, crds, "", name)
		if err != nil {
			return err
		}
		if err := condition(o, "Established"); err != nil {
			return err
		}
	}
	return nil
}

// writeEndpoints makes the Services point at this machine's processes.
func (p *plane) writeEndpoints(ctx context.Context) error {
	for service, port := range map[string]struct {
		name string
		port int
	}{
		"imc-dispatcher": {"http-dispatcher", dispatcherPort}, "broker-ingress": {"http", p.ports["ingress"]}, "broker-filter": {"http", p.ports["filter"]},
		"eventing-webhook": {"https-webhook", p.ports["webhook"]}, "inmemorychannel-webhook": {"https-webhook", p.ports["imc-webhook"]},
	} {
		slice := fmt.Sprintf(`{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: %s-x, namespace: %s, labels: {kubernetes.io/service-name: %s}},
addressType: IPv4, ports: [{name: %s, port: %d, protocol: TCP}], endpoints: [{addresses: [%s], conditions: {ready: true}}]}`, service, system, service, port.name, port.port, p.host)
		if err := p.api.applyText(ctx, []byte(slice)); err != nil {
			return err
		}
	}
	status := &unstructured.Unstructured{}
	if err := json.Unmarshal([]byte(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"imc-dispatcher","namespace":"`+system+`"},"status":{"replicas":1,"readyReplicas":1,"availableReplicas":1,"updatedReplicas":1,"observedGeneration":1,"conditions":[{"type":"Available","status":"True","reason":"Process","message":"runs as a process"}]}}`), &status.Object); err != nil {
		return err
	}
	return p.api.apply(ctx, status, "status")
}

// startEventing starts Knative's processes and waits until the webhooks are configured. A
// Broker created earlier would miss its defaults.
func (p *plane) startEventing(ctx context.Context) error {
	knative := func(binary, account string, env ...string) error {
		name := "knative-" + binary
		base := []string{"POD_NAME=" + name, "CONTAINER_NAME=" + name, "METRICS_DOMAIN=knative.dev/eventing", "SYSTEM_NAMESPACE=" + system,
			"CONFIG_LOGGING_NAME=config-logging", "CONFIG_OBSERVABILITY_NAME=config-observability", "KUBECONFIG=kubeconfig-" + account,
			"HTTP_PROXY=http://127.0.0.1:" + p.port("proxy"), "NO_PROXY=127.0.0.1"}
		return p.run(name, append(base, env...))
	}
	if err := knative("webhook", "eventing-webhook", "WEBHOOK_NAME=eventing-webhook", "WEBHOOK_PORT="+p.port("webhook")); err != nil {
		return err
	}
	if err := wait(ctx, "webhook", 60*time.Second, p.listening(p.ports["webhook"])); err != nil {
		return err
	}
	files, err := p.manifests(func(path string) bool { return strings.Contains(path, "/webhooks/") }, "config")
	if err != nil {
		return err
	}
	if err := p.api.applyFiles(ctx, files); err != nil {
		return err
	}
	images := []string{"APISERVER_RA_IMAGE=x", "AUTH_PROXY_IMAGE=x", "EVENT_TRANSFORM_JSONATA_IMAGE=x", "INTEGRATION_SOURCE_TIMER_IMAGE=x", "INTEGRATION_SOURCE_AWS_S3_IMAGE=x",
		"INTEGRATION_SOURCE_AWS_SQS_IMAGE=x", "INTEGRATION_SOURCE_AWS_DDB_STREAMS_IMAGE=x", "INTEGRATION_SINK_LOG_IMAGE=x", "INTEGRATION_SINK_AWS_S3_IMAGE=x",
		"INTEGRATION_SINK_AWS_SQS_IMAGE=x", "INTEGRATION_SINK_AWS_SNS_IMAGE=x"}
	if err := errors.Join(
		knative("channel_controller", "imc-controller", "WEBHOOK_NAME=inmemorychannel-webhook", "WEBHOOK_PORT="+p.port("imc-webhook"), "DISPATCHER_IMAGE=x"),
		knative("channel_dispatcher", "imc-dispatcher", "MAX_IDLE_CONNS=1000", "MAX_IDLE_CONNS_PER_HOST=1000"),
		knative("mtchannel_broker", "eventing-controller", "BROKER_INGRESS_PORT=x"),
		knative("ingress", "mt-broker-ingress", "INGRESS_PORT="+p.port("ingress"), "INGRESS_PORT_HTTPS="+p.port("ingress-tls")),
		knative("filter", "mt-broker-filter", "NAMESPACE="+system, "FILTER_PORT="+p.port("filter"), "FILTER_PORT_HTTPS="+p.port("filter-tls")),
		knative("controller", "eventing-controller", images...),
	); err != nil {
		return err
	}
	for _, port := range []int{p.ports["ingress"], p.ports["filter"], p.ports["imc-webhook"], dispatcherPort} {
		if err := wait(ctx, "port "+strconv.Itoa(port), 60*time.Second, p.listening(port)); err != nil {
			return err
		}
	}
	return wait(ctx, "webhook configurations", 60*time.Second, p.webhooksConfigured)
}

func (p *plane) listening(port int) func(context.Context) error {
	return func(context.Context) error {
		c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), time.Second)
		if err != nil {
			return err
		}
		return c.Close()
	}
}

func (p *plane) webhooksConfigured(ctx context.Context) error {
	for _, w := range []struct{ resource, name string }{
		{"mutatingwebhookconfigurations", "webhook.eventing.knative.dev"}, {"validatingwebhookconfigurations", "validation.webhook.eventing.knative.dev"},
		{"mutatingwebhookconfigurations", "inmemorychannel.eventing.knative.dev"},
	} {
		o, err := p.api.get(ctx, schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: w.resource}, "", w.name)
		if err != nil {
			return err
		}
		hooks, _, _ := unstructured.NestedSlice(o.Object, "webhooks")
		for _, h := range hooks {
			m, _ := h.(map[string]any)
			ca, _, _ := unstructured.NestedString(m, "clientConfig", "caBundle")
			if rules, _, _ := unstructured.NestedSlice(m, "rules"); len(rules) == 0 || ca == "" {
				return fmt.Errorf("%s has no rules or no CA yet", w.name)
			}
		}
	}
	return nil
}

// Deploy implements [scenario.Target].
func (p *plane) Deploy(ctx context.Context, s scenario.Scenario, subscribers []string, dead string) (string, error) {
	b, err := s.Broker(dead)
	if err != nil {
		return "", err
	}
	objects := []any{b}
	for i := range s.Triggers {
		t, err := s.Trigger(i, subscribers[i], dead)
		if err != nil {
			return "", err
		}
		objects = append(objects, t)
	}
	var names []string
	for _, obj := range objects {
		name, err := p.create(ctx, obj)
		if err != nil {
			return "", err
		}
		names = append(names, name)
	}
	err = wait(ctx, "Broker "+s.Name, 60*time.Second, func(ctx context.Context) error {
		for i, name := range names {
			kind := triggers
			if i == 0 {
				kind = brokers
			}
			o, err := p.api.get(ctx, kind, namespace, name)
			if err != nil {
				return err
			}
			if err := condition(o, "Ready"); err != nil {
				return err
			}
		}
		return nil
	})
	url := fmt.Sprintf("http://127.0.0.1:%s/%s/%s", p.port("ingress"), namespace, s.Name)
	return url, err
}

// create applies one object in the namespace of the scenarios.
func (p *plane) create(ctx context.Context, obj any) (string, error) {
	text, err := json.Marshal(obj)
	if err != nil {
		return "", err
	}
	o := &unstructured.Unstructured{}
	if err := json.Unmarshal(text, &o.Object); err != nil {
		return "", err
	}
	unstructured.RemoveNestedField(o.Object, "status")
	unstructured.RemoveNestedField(o.Object, "metadata", "creationTimestamp")
	o.SetNamespace(namespace)
	return o.GetName(), p.api.apply(ctx, o)
}

// applyInto applies manifests into a namespace and returns "kind/name" of each.
func (p *plane) applyInto(ctx context.Context, ns string, text []byte) ([]string, error) {
	var names []string
	for _, doc := range strings.Split("\n"+string(text), "\n---") {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(doc), &o.Object); err != nil {
			return nil, err
		}
		if o.GetKind() == "" {
			continue
		}
		o.SetNamespace(ns)
		if err := p.api.apply(ctx, o); err != nil {
			return nil, err
		}
		names = append(names, o.GetKind()+"/"+o.GetName())
	}
	return names, nil
}

// triggersReady reports why the Broker or one of the named Triggers is not ready.
func (p *plane) triggersReady(ctx context.Context, ns string, names []string) error {
	for _, n := range names {
		kind, name, _ := strings.Cut(n, "/")
		gvr, ok := map[string]schema.GroupVersionResource{"Broker": brokers, "Trigger": triggers}[kind]
		if !ok {
			continue
		}
		o, err := p.api.get(ctx, gvr, ns, name)
		if err != nil {
			return err
		}
		if err := condition(o, "Ready"); err != nil {
			return err
		}
	}
	return nil
}
