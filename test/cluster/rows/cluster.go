package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// cluster is the running cluster, by kubectl.
type cluster struct {
	url, began, registry string
	load                 time.Duration
	rate, over, colds    int
}

const namespace = "pitboss"

// functions are those on an event's way, then the others.
var functions = []string{"profile", "score", "decide", "ingest", "console", "feedback", "privacy", "timer"}

func kubectl(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "kubectl", args...).CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// object is what the rows read of any object.
type object struct {
	Kind     string
	Metadata struct {
		Name, Namespace, Generation string
		Labels                      map[string]string
		DeletionTimestamp           *time.Time
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
		LatestReadyRevisionName, LatestCreatedRevisionName string
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

// get lists objects of the namespace.
func get(ctx context.Context, kinds string, more ...string) ([]object, error) {
	out, err := exec.CommandContext(ctx, "kubectl", append([]string{"-n", namespace, "get", kinds, "-o", "json"}, more...)...).Output()
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", kinds, err)
	}
	var list struct{ Items []object }
	text := strings.ReplaceAll(string(out), `"generation":`, `"gen":`) // a number, and of no use here
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return nil, fmt.Errorf("get %s: %w", kinds, err)
	}
	return list.Items, nil
}

// pods are those of a function that run and are not being deleted.
func pods(ctx context.Context, function string) (out []object, err error) {
	all, err := get(ctx, "pods", "-l", "serving.knative.dev/service=pitboss-"+function)
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
