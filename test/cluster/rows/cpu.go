package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// used is processor time by part of the system: each function, the queue-proxies
// before them, Redis, the Broker's parts, ingress and activator; "kubernetes" is
// everything else in the cluster's cgroup.
type used map[string]time.Duration

// processors reads it from the containers' cgroups. It does not depend on what
// else the machine does, but for cold caches.
func processors(ctx context.Context) (used, error) {
	parts, err := partOf(ctx)
	if err != nil {
		return nil, err
	}
	out := used{}
	root, counter := "/sys/fs/cgroup/cpuacct/pitboss-cluster", "cpuacct.usage"
	if _, err := os.Stat(root); errors.Is(err, fs.ErrNotExist) {
		root, counter = "/sys/fs/cgroup/pitboss-cluster", "cpu.stat"
	}
	whole, err := usage(filepath.Join(root, counter))
	if err != nil {
		return nil, err
	}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		part, ok := parts[filepath.Base(path)]
		if err != nil || !ok || !d.IsDir() {
			return nil // a container that ended meanwhile
		}
		spent, err := usage(filepath.Join(path, counter))
		out[part] += spent
		whole -= spent
		return err
	})
	out["kubernetes"] = whole
	return out, err
}

// usage reads cgroup v1's cpuacct.usage, in nanoseconds, or v2's cpu.stat.
func usage(file string) (time.Duration, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	number, unit := strings.TrimSpace(string(text)), time.Nanosecond
	if micros, ok := strings.CutPrefix(number, "usage_usec "); ok {
		number, _, _ = strings.Cut(micros, "\n")
		unit = time.Microsecond
	}
	n, err := strconv.ParseInt(number, 10, 64)
	return time.Duration(n) * unit, err
}

// partOf names the part that each container belongs to, by the container's id.
func partOf(ctx context.Context) (map[string]string, error) {
	var list struct {
		Items []struct {
			Metadata struct{ Labels map[string]string }
			Status   struct {
				ContainerStatuses []struct{ Name, ContainerID string }
			}
		}
	}
	if err := read(ctx, "/api/v1/pods", "", &list); err != nil {
		return nil, err
	}
	parts := map[string]string{}
	for _, p := range list.Items {
		l := p.Metadata.Labels
		part := "kubernetes"
		switch {
		case l["serving.knative.dev/service"] != "":
			part = strings.TrimPrefix(l["serving.knative.dev/service"], "pitboss-")
		case l["eventing.knative.dev/brokerRole"] != "":
			part = "broker-" + l["eventing.knative.dev/brokerRole"]
		case l["messaging.knative.dev/role"] == "dispatcher":
			part = "channel-dispatcher"
		case l["app.kubernetes.io/name"] == "redis":
			part = "redis"
		case slices.Contains([]string{"activator", "ingress", "kafka", "kafka-broker-receiver", "kafka-broker-dispatcher"}, l["app"]):
			part = l["app"]
		}
		for _, c := range p.Status.ContainerStatuses {
			of := part
			if c.Name == "queue-proxy" {
				of = c.Name
			}
			parts[strings.TrimPrefix(c.ContainerID, "containerd://")] = of
		}
	}
	return parts, nil
}

// perEvent is what was used since, in microseconds an event.
func (u used) perEvent(before used, events int) map[string]int64 {
	out := map[string]int64{}
	for part, spent := range u {
		if us := (spent - before[part]).Microseconds() / int64(max(1, events)); us > 0 {
			out[part] = us
		}
	}
	return out
}
