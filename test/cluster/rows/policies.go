package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// policies asks from pods of other namespaces, and from one that the policies
// take for ingest, who can be reached.
func policies(ctx context.Context, c *cluster) (figures, error) {
	probe := func(ns, name string, labels string) error {
		if _, err := kubectl(ctx, "get", "namespace", ns); err != nil {
			if _, err := kubectl(ctx, "create", "namespace", ns); err != nil {
				return err
			}
		}
		args := []string{"-n", ns, "run", name, "--image", c.registry + "/busybox:dev", "--restart=Never"}
		if labels != "" {
			args = append(args, "--labels", labels)
		}
		if _, err := kubectl(ctx, append(args, "--command", "--", "/bin/busybox", "sleep", "100000")...); err != nil {
			return err
		}
		_, err := kubectl(ctx, "-n", ns, "wait", "--for=condition=Ready", "pod/"+name, "--timeout=120s")
		return err
	}
	defer func() {
		for _, ns := range []string{"default", "observability", "knative-eventing", namespace} {
			_, _ = kubectl(context.WithoutCancel(ctx), "-n", ns, "delete", "pod", "probe", "as-ingest", "--ignore-not-found", "--grace-period=1", "--wait=false")
		}
	}()
	for _, ns := range []string{"default", "observability", "knative-eventing", namespace} {
		if err := probe(ns, "probe", ""); err != nil {
			return nil, err
		}
	}
	labels, err := policyLabels(ctx, "ingest")
	if err != nil {
		return nil, err
	}
	if err := probe(namespace, "as-ingest", labels); err != nil {
		return nil, err
	}
	address := func(ns, selector string) string {
		// A pod that a rollout is ending is Running, too, and may be gone at the next probe.
		out, _ := kubectl(ctx, "-n", ns, "get", "pods", "-l", selector, "--field-selector=status.phase=Running", "-o",
			"go-template={{range .items}}{{if not .metadata.deletionTimestamp}}{{.status.podIP}} {{end}}{{end}}")
		first, _, _ := strings.Cut(strings.TrimSpace(out), " ")
		return first
	}
	// A new pod is free until the node's rules name it, which takes longer on a busy machine.
	self, err := kubectl(ctx, "-n", namespace, "get", "pod", "as-ingest", "-o", "jsonpath={.status.podIP}")
	if err != nil {
		return nil, err
	}
	began := time.Now()
	err = await(ctx, time.Minute, "rules for the new pod", func() (bool, error) {
		table, err := exec.CommandContext(ctx, "nft", "list", "table", "inet", "pitboss_policy").Output()
		return strings.Contains(string(table), self+" : jump egress_"), err
	})
	if err != nil {
		return nil, err
	}
	enforced := time.Since(began).Milliseconds()
	profile, redis := address(namespace, "serving.knative.dev/service=pitboss-profile"), address(namespace, "app.kubernetes.io/name=redis")
	broker := address("knative-eventing", "eventing.knative.dev/brokerRole=ingress")
	if broker == "" {
		broker = address("knative-eventing", "app=kafka-broker-receiver")
	}
	wrong, checked := []string{}, 0
	var errs []error
	for _, p := range []struct {
		namespace, pod, address string
		port                    int
		open                    bool
		what                    string
	}{
		{"default", "probe", profile, 8012, false, "profile's queue-proxy"},
		{"default", "probe", profile, 8080, false, "profile"},
		{"default", "probe", profile, 9464, false, "profile's metrics"},
		{"observability", "probe", profile, 9464, true, "profile's metrics"},
		{"observability", "probe", profile, 8080, false, "profile"},
		{"knative-eventing", "probe", profile, 8012, true, "profile's queue-proxy"},
		{"knative-eventing", "probe", profile, 8080, false, "profile itself"},
		{namespace, "probe", redis, 6379, true, "Redis, from a pod without a policy"},
		{namespace, "as-ingest", redis, 6379, false, "Redis"},
		{namespace, "as-ingest", broker, 8080, true, "the Broker"},
		{namespace, "as-ingest", "10.200.0.1", 6443, false, "the API server"},
	} {
		_, err := kubectl(ctx, "-n", p.namespace, "exec", p.pod, "--", "/bin/busybox", "nc", "-w", "2", p.address, fmt.Sprint(p.port), "-e", "/bin/busybox", "true")
		if checked++; (err == nil) != p.open {
			wrong = append(wrong, fmt.Sprintf("%s/%s to %s: open %v", p.namespace, p.pod, p.what, err == nil))
			errs = append(errs, err)
		}
	}
	if len(wrong) > 0 {
		return figures{"checked": checked, "wrong": wrong, "enforced_ms": enforced}, errors.Join(append(errs, errors.New("policies are not as they should be"))...)
	}
	return figures{"checked": checked, "wrong": 0, "enforced_ms": enforced}, nil
}

// policyLabels are those of a function's pod that policies select it by, without
// those by which a Deployment or a Service would take another pod for its own.
func policyLabels(ctx context.Context, function string) (string, error) {
	p, err := pods(ctx, function)
	if err != nil || len(p) == 0 {
		return "", fmt.Errorf("no pod of %s: %v", function, err)
	}
	var out []string
	for name, value := range p[0].Metadata.Labels {
		if strings.HasPrefix(name, "app.kubernetes.io/") || strings.HasPrefix(name, "pitboss/") || name == "serving.knative.dev/service" {
			out = append(out, name+"="+value)
		}
	}
	return strings.Join(out, ","), nil
}
