package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// cluster is the running cluster, and what is to be done with it.
type cluster struct {
	url, began, registry string
	load                 time.Duration
	rate, over, colds    int
}

const namespace = "pitboss"

// functions are those on an event's way, then the others.
var functions = []string{"profile", "score", "decide", "ingest", "console", "feedback", "privacy", "timer"}

// kubectl runs kubectl at the cluster's own priority: the rows have a higher one, with which
// a large program that starts often would take the processors from everything else.
func kubectl(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "nice", append([]string{"-n", "10", "kubectl"}, args...)...).CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// object is what the rows read of any object.
type object struct {
	Kind     string
	Metadata struct {
		Name, Namespace   string
		Labels            map[string]string
		DeletionTimestamp *time.Time
	}
	Status struct {
		Phase, PodIP string
		Conditions   []struct {
			Type, Status       string
			LastTransitionTime time.Time
		}
		ContainerStatuses []struct {
			Name         string
			RestartCount int
		}
		LatestReadyRevisionName string
		Traffic                 []struct{ RevisionName string }
	}
}

func (o *object) ready() bool {
	for _, c := range o.Status.Conditions {
		if c.Type == "Ready" {
			return c.Status == "True"
		}
	}
	return false
}

// server is the API server, asked from this process: a kubectl takes a fifth of a
// second of the two processors that are being measured, several times a second.
var server = sync.OnceValues(func() (*rest.RESTClient, error) {
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		return nil, err
	}
	config.QPS = -1 // no limit
	config.NegotiatedSerializer = scheme.Codecs
	return rest.UnversionedRESTClientFor(config)
})

// Collections of the namespace.
const (
	podsPath     = "/api/v1/namespaces/" + namespace + "/pods"
	ksvcPath     = "/apis/serving.knative.dev/v1/namespaces/" + namespace + "/services"
	brokersPath  = "/apis/eventing.knative.dev/v1/namespaces/" + namespace + "/brokers"
	triggersPath = "/apis/eventing.knative.dev/v1/namespaces/" + namespace + "/triggers"
	bindingsPath = "/apis/sources.knative.dev/v1/namespaces/" + namespace + "/sinkbindings"
)

// read decodes what the API server answers to a GET.
func read(ctx context.Context, path, selector string, into any) error {
	c, err := server()
	if err != nil {
		return err
	}
	get := c.Get().AbsPath(path)
	if selector != "" {
		get = get.Param("labelSelector", selector)
	}
	text, err := get.Do(ctx).Raw()
	if err != nil {
		return fmt.Errorf("get %s: %w", path, err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("get %s: %w", path, err)
	}
	return nil
}

// list reads collections; an empty selector takes all of their objects.
func list(ctx context.Context, selector string, paths ...string) (all []object, err error) {
	for _, path := range paths {
		var l struct{ Items []object }
		if err := read(ctx, path, selector, &l); err != nil {
			return nil, err
		}
		all = append(all, l.Items...)
	}
	return all, nil
}

// pods are those of a function that run and are not being deleted.
func pods(ctx context.Context, function string) (out []object, err error) {
	all, err := list(ctx, "serving.knative.dev/service=pitboss-"+function, podsPath)
	for _, p := range all {
		if p.Status.Phase == "Running" && p.Metadata.DeletionTimestamp == nil {
			out = append(out, p)
		}
	}
	return out, err
}

// await asks until what it waits for is so.
func await(ctx context.Context, most time.Duration, what string, ok func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	for {
		done, err := ok()
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: not within %s: %v", what, most, err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// cli runs a command of Pitboss in the console's container.
func cli(ctx context.Context, args ...string) (string, error) {
	p, err := pods(ctx, "console")
	if err != nil || len(p) == 0 {
		return "", fmt.Errorf("no console: %v", err)
	}
	return kubectl(ctx, append([]string{"-n", namespace, "exec", p[0].Metadata.Name, "-c", "user-container", "--", "/func/cli"}, args...)...)
}
