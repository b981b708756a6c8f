package manifest

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/api/resource"
	"knative.dev/serving/pkg/apis/serving"
	"sigs.k8s.io/yaml"

	"pitboss/broker/spec"
)

// Func is a func.yaml (knative/func, specVersion 0.36.0), as far as Pitboss
// uses it. func itself only warns about a field it does not know; here it is
// refused.
type Func struct {
	SpecVersion string     `json:"specVersion"`
	Name        string     `json:"name"`
	Runtime     string     `json:"runtime"`
	Created     string     `json:"created"` // RFC 3339; func takes the directory for uninitialised without it
	Invoke      string     `json:"invoke"`
	Build       FuncBuild  `json:"build"`
	Run         FuncRun    `json:"run,omitempty"`
	Deploy      FuncDeploy `json:"deploy,omitempty"`

	File   string `json:"-"`
	Folder string `json:"-"` // of functions/: the function's name; "" for the root
}

// FuncBuild says how the image is made.
type FuncBuild struct {
	Builder string `json:"builder"`
}

// FuncRun is the container's environment.
type FuncRun struct {
	Envs    []FuncPair   `json:"envs,omitempty"`
	Volumes []FuncVolume `json:"volumes,omitempty"`
}

// FuncPair is a name (or key) and its value.
type FuncPair struct {
	Name  string `json:"name,omitempty"`
	Key   string `json:"key,omitempty"`
	Value string `json:"value"`
}

// FuncVolume mounts a Secret or ConfigMap.
type FuncVolume struct {
	Secret    string `json:"secret,omitempty"`
	ConfigMap string `json:"configMap,omitempty"`
	Path      string `json:"path"`
}

// FuncDeploy is what becomes of the Knative Service.
type FuncDeploy struct {
	ServiceAccountName string            `json:"serviceAccountName,omitempty"`
	Labels             []FuncPair        `json:"labels,omitempty"`
	Annotations        map[string]string `json:"annotations,omitempty"`
	Subscriptions      []any             `json:"subscriptions,omitempty"`
	HealthEndpoints    struct {
		Liveness  string `json:"liveness"`
		Readiness string `json:"readiness"`
	} `json:"healthEndpoints,omitempty"`
	Options struct {
		Scale     FuncScale     `json:"scale"`
		Resources FuncResources `json:"resources"`
	} `json:"options,omitempty"`
}

// FuncScale bounds the number of instances.
type FuncScale struct {
	Min         *int64   `json:"min"`
	Max         *int64   `json:"max"`
	Metric      string   `json:"metric"`
	Target      *float64 `json:"target"`
	Utilization *float64 `json:"utilization"`
}

// FuncResources are requests and limits of an instance.
type FuncResources struct {
	Requests struct {
		CPU    string `json:"cpu"`
		Memory string `json:"memory"`
	} `json:"requests"`
	Limits struct {
		CPU         string `json:"cpu"`
		Memory      string `json:"memory"`
		Concurrency *int64 `json:"concurrency"`
	} `json:"limits"`
}

// Annotations with which a func.yaml says what its function does, so that a
// cycle of replies can be found before anything is deployed: comma-separated
// event types, or "in" (every type that platforms send), or "all".
const (
	takesAnnotation   = "pitboss/takes"
	repliesAnnotation = "pitboss/replies"
)

// A function has no address outside the cluster, lest anybody POSTs events that
// it believes, unless it says with this annotation why it needs one.
const (
	publicAnnotation = "pitboss/public"
	visibilityLabel  = "networking.knative.dev/visibility"
	clusterLocal     = "cluster-local"
)

// Funcs reads the func.yaml of every folder of root/functions that has one.
func Funcs(root string) ([]*Func, error) {
	files, err := filepath.Glob(filepath.Join(root, "functions", "*", "func.yaml"))
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	var out []*Func
	var bad Problems
	for _, file := range files {
		f, err := readFunc(file)
		if err != nil {
			bad = append(bad, spec.AsProblems(file, err)...)
			continue
		}
		f.Folder = filepath.Base(filepath.Dir(file))
		out = append(out, f)
	}
	return out, bad.Err()
}

func readFunc(file string) (*Func, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	f := &Func{File: file}
	if err := yaml.UnmarshalStrict(raw, f); err != nil {
		return nil, spec.Undecodable(file, raw, f, err, "func only warns about it and deploys without it: mend the name")
	}
	return f, nil
}

// env returns an environment variable's value.
func (f *Func) env(name string) (string, bool) {
	for _, e := range f.Run.Envs {
		if e.Name == name {
			return e.Value, true
		}
	}
	return "", false
}

// label returns a label's value; empty: there is none.
func (f *Func) label(key string) string {
	for _, l := range f.Deploy.Labels {
		if l.Key == key {
			return l.Value
		}
	}
	return ""
}

// busy is the CPU request from which on a function must ask for CPU for its
// queue-proxy, too: each event costs the proxy about half of what it costs the
// function (docs/sizing.md). With Knative's default, 25m, the proxy is starved by
// the functions of the node as soon as they start or are busy.
var busy = resource.MustParse("250m")

// checkQueueProxy says what is wrong with the CPU that the function's
// queue-proxy asks for.
func (f *Func) checkQueueProxy() error {
	asked, ok := f.Deploy.Annotations[serving.QueueSidecarCPUResourceRequestAnnotationKey]
	if ok {
		_, err := resource.ParseQuantity(asked)
		return err
	}
	if own, err := resource.ParseQuantity(f.Deploy.Options.Resources.Requests.CPU); err == nil && own.Cmp(busy) >= 0 {
		return fmt.Errorf("is missing; a function that asks for %s or more of CPU is on the way of many events, and each passes its queue-proxy", busy.String())
	}
	return nil
}

// list reads a comma-separated annotation.
func (f *Func) list(annotation string) []string {
	var out []string
	for _, s := range strings.Split(f.Deploy.Annotations[annotation], ",") {
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, s)
		}
	}
	return out
}

// check lints one deploy unit; known are the functions' folders.
func (f *Func) check(known []string) Problems {
	var ps Problems
	refuse := func(field, detail, remedy string) {
		ps = append(ps, &Problem{File: f.File, Where: field, Detail: detail, Remedy: remedy})
	}
	target, ok := f.env("FUNCTION_TARGET")
	switch {
	case !ok:
		refuse("run.envs", "FUNCTION_TARGET is missing", "value: "+f.Folder)
	case !slices.Contains(known, target):
		refuse("run.envs.FUNCTION_TARGET", fmt.Sprintf("there is no function %q", target), "one of "+strings.Join(known, ", ")+spec.Nearest(target, known))
	case target != f.Folder:
		refuse("run.envs.FUNCTION_TARGET", fmt.Sprintf("is %q in the folder of %s", target, f.Folder), "value: "+f.Folder)
	}
	if want := "pitboss-" + f.Folder; f.Name != want {
		refuse("name", fmt.Sprintf("is %q", f.Name), "Triggers refer to the Service as "+want)
	}
	if f.Created == "" {
		refuse("created", "is missing", "func takes the function for uninitialised without a creation time")
	}
	if f.Invoke != "http" {
		refuse("invoke", fmt.Sprintf("is %q", f.Invoke), "invoke: http (functions/handler.go says why)")
	}
	if len(f.Deploy.Subscriptions) > 0 {
		refuse("deploy.subscriptions", "func's own Triggers have no retry and no dead-letter sink, and deliver beside ours", "routing is in triggers/ only")
	}
	for a := range f.Deploy.Annotations {
		if strings.HasPrefix(a, "autoscaling.knative.dev/") {
			refuse("deploy.annotations."+a, "serving rejects autoscaling annotations on a Service", "use deploy.options.scale")
		}
	}
	if err := f.checkQueueProxy(); err != nil {
		refuse("deploy.annotations."+serving.QueueSidecarCPUResourceRequestAnnotationKey, err.Error(), "half of the function's own request: 200m")
	}
	if local := f.label(visibilityLabel) == clusterLocal; local == (f.Deploy.Annotations[publicAnnotation] != "") {
		refuse("deploy.labels", "anybody outside the cluster could POST events that it believes",
			fmt.Sprintf("either the label %s: %s, or the annotation %s with the reason", visibilityLabel, clusterLocal, publicAnnotation))
	}
	for _, field := range f.unreasoned() {
		refuse("deploy.options."+field, "has no reason beside it", "a comment in the same line: why this number")
	}
	for _, e := range f.Run.Envs {
		if strings.Contains(e.Value, "{{") && !reference.MatchString(e.Value) {
			refuse("run.envs."+e.Name, fmt.Sprintf("%q is no reference", e.Value), "value: '{{ secret:NAME:KEY }}'")
		}
	}
	if unset := f.checkSize(); len(unset) > 0 {
		return append(ps, unset...)
	}
	return append(ps, f.checkService()...)
}

// reference is func's notation for a value that a Secret holds.
var reference = regexp.MustCompile(`^\{\{ secret:[a-z0-9.-]+:[A-Za-z0-9._-]+ \}\}$`)

// unreasoned lists the bounds that no comment explains.
func (f *Func) unreasoned() []string {
	var doc yamlv3.Node
	if raw, err := os.ReadFile(f.File); err != nil || yamlv3.Unmarshal(raw, &doc) != nil || len(doc.Content) == 0 {
		return nil // was readable a moment ago
	}
	var out []string
	var walk func(n *yamlv3.Node, path string)
	walk = func(n *yamlv3.Node, path string) {
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, value := n.Content[i].Value, n.Content[i+1]
			sub := strings.TrimPrefix(path+"."+key, ".")
			if value.Kind == yamlv3.MappingNode {
				walk(value, sub)
			} else if path, ok := strings.CutPrefix(sub, "deploy.options."); ok && key != "metric" && value.LineComment == "" {
				out = append(out, path)
			}
		}
	}
	walk(doc.Content[0], "")
	return out
}

// checkService asks serving whether it would take the Service that the file leads to.
func (f *Func) checkService() Problems {
	s, err := f.Service("pitboss")
	if err != nil {
		return spec.AsProblems(f.File, err)
	}
	ps := problemsOrNone(f.File, validate(f.File, s))
	for _, p := range ps {
		p.Detail += " (a field of the Service that this file leads to: deploy.options and run say what it is)"
	}
	return ps
}

// checkSize wants every bound to be set, so that none is a default nobody chose.
func (f *Func) checkSize() Problems {
	s, r := f.Deploy.Options.Scale, f.Deploy.Options.Resources
	var ps Problems
	for _, c := range []struct {
		field string
		unset bool
	}{
		{"scale.min", s.Min == nil}, {"scale.max", s.Max == nil || *s.Max == 0}, {"scale.metric", s.Metric == ""}, {"scale.target", s.Target == nil}, {"scale.utilization", s.Utilization == nil},
		{"resources.requests.cpu", r.Requests.CPU == ""}, {"resources.requests.memory", r.Requests.Memory == ""},
		{"resources.limits.cpu", r.Limits.CPU == ""}, {"resources.limits.memory", r.Limits.Memory == ""}, {"resources.limits.concurrency", r.Limits.Concurrency == nil},
	} {
		if c.unset {
			ps = append(ps, &Problem{File: f.File, Where: "deploy.options." + c.field, Detail: "is not set", Remedy: "every function is bounded; write the reason beside the number"})
		}
	}
	return append(ps, f.checkMemory()...)
}

// checkMemory wants GOMEMLIMIT below the container's limit, which Go does not
// see: the garbage of a burst would have the kubelet end the process.
func (f *Func) checkMemory() Problems {
	limit, err := resource.ParseQuantity(f.Deploy.Options.Resources.Limits.Memory)
	if err != nil {
		return nil //nolint:nilerr // checkService reports it
	}
	value, _ := f.env("GOMEMLIMIT")
	soft, err := resource.ParseQuantity(strings.TrimSuffix(value, "B"))
	if share := soft.AsApproximateFloat64() / limit.AsApproximateFloat64(); err == nil && strings.HasSuffix(value, "iB") && share > 0 && share <= 0.9 {
		return nil
	}
	return Problems{{File: f.File, Where: "run.envs.GOMEMLIMIT", Detail: fmt.Sprintf("is %q where the limit of memory is %s", value, limit.String()), Remedy: "at most nine tenths of the limit, such as 450MiB of 512Mi"}}
}
