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

// Func is the part of a func.yaml (knative/func, specVersion 0.36.0) that Pitboss
// uses. func only warns about an unknown field; this package refuses it.
type Func struct {
	SpecVersion string     `json:"specVersion"`
	Name        string     `json:"name"`
	Runtime     string     `json:"runtime"`
	Created     string     `json:"created"` // RFC 3339; without it func treats the folder as not initialised
	Invoke      string     `json:"invoke"`
	Build       FuncBuild  `json:"build"`
	Run         FuncRun    `json:"run,omitempty"`
	Deploy      FuncDeploy `json:"deploy,omitempty"`

	File   string `json:"-"`
	Folder string `json:"-"` // the folder below functions/, which is the function's name; "" for the root
}

// FuncBuild names the builder of the image.
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

// FuncDeploy configures the Knative Service.
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

// FuncResources holds the requests and limits of one instance.
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

// These annotations of a func.yaml list the event types that its function takes and
// replies with, so that the linter finds a cycle of replies before deployment. The
// value is comma-separated: event types, "in" (every type that platforms send) or
// "all".
const (
	takesAnnotation   = "pitboss/takes"
	repliesAnnotation = "pitboss/replies"
)

// A function trusts the events it receives, so it must have no address outside the
// cluster. One that needs a public address gives the reason in publicAnnotation.
const (
	publicAnnotation = "pitboss/public"
	visibilityLabel  = "networking.knative.dev/visibility"
	clusterLocal     = "cluster-local"
)

// Funcs reads every func.yaml in the folders of root/functions.
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
		return nil, spec.Undecodable(file, raw, f, err, "func warns and deploys without this field; correct its name")
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

// label returns a label's value, or "" without the label.
func (f *Func) label(key string) string {
	for _, l := range f.Deploy.Labels {
		if l.Key == key {
			return l.Value
		}
	}
	return ""
}

// busy is a CPU request. A function that requests this much or more must also
// request CPU for its queue-proxy, because an event costs the proxy about half of
// what it costs the function (docs/sizing.md). With Knative's default of 25m the
// other functions on the node take the proxy's CPU when they start or are busy.
var busy = resource.MustParse("250m")

// checkQueueProxy checks the CPU request of the function's queue-proxy.
func (f *Func) checkQueueProxy() error {
	asked, ok := f.Deploy.Annotations[serving.QueueSidecarCPUResourceRequestAnnotationKey]
	if ok {
		_, err := resource.ParseQuantity(asked)
		return err
	}
	if own, err := resource.ParseQuantity(f.Deploy.Options.Resources.Requests.CPU); err == nil && own.Cmp(busy) >= 0 {
		return fmt.Errorf("is missing; a function that requests %s of CPU or more handles many events, and its queue-proxy handles each of them too", busy.String())
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

// check lints one func.yaml. known lists the functions' folders.
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
		refuse("created", "is missing", createdRemedy)
	}
	if f.Invoke != "http" {
		refuse("invoke", fmt.Sprintf("is %q", f.Invoke), "invoke: http (functions/handler.go says why)")
	}
	if len(f.Deploy.Subscriptions) > 0 {
		refuse("deploy.subscriptions", "func's Triggers have no retry and no dead-letter sink, and would deliver each event a second time", "route events in triggers/ only")
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
		refuse("deploy.labels", "anybody outside the cluster could POST events, and the function would trust them",
			fmt.Sprintf("set either the label %s: %s, or the annotation %s with the reason", visibilityLabel, clusterLocal, publicAnnotation))
	}
	for _, field := range f.unreasoned() {
		refuse("deploy.options."+field, "has no reason beside it", "add a comment on the same line: why this number")
	}
	for _, e := range f.Run.Envs {
		if strings.Contains(e.Value, "{{") && !reference.MatchString(e.Value) {
			refuse("run.envs."+e.Name, fmt.Sprintf("%q is not a reference to a Secret", e.Value), "value: '{{ secret:NAME:KEY }}'")
		}
	}
	if unset := f.checkSize(); len(unset) > 0 {
		return append(ps, unset...)
	}
	return append(ps, f.checkService()...)
}

// createdRemedy explains why a func.yaml needs its creation time.
const createdRemedy = "set a time in RFC 3339; without it func treats the function as not initialised"

// reference matches func's notation for a value in a Secret.
var reference = regexp.MustCompile(`^\{\{ secret:[a-z0-9.-]+:[A-Za-z0-9._-]+ \}\}$`)

// unreasoned lists the bounds without a comment that explains them.
func (f *Func) unreasoned() []string {
	var doc yamlv3.Node
	if raw, err := os.ReadFile(f.File); err != nil || yamlv3.Unmarshal(raw, &doc) != nil || len(doc.Content) == 0 {
		return nil // readFunc has just read the same file
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

// checkService validates the Service rendered from the file, as serving does.
func (f *Func) checkService() Problems {
	s, err := f.Service("pitboss")
	if err != nil {
		return spec.AsProblems(f.File, err)
	}
	ps := problemsOrNone(f.File, validate(f.File, s))
	for _, p := range ps {
		p.Detail += " (a field of the Service rendered from this file's deploy.options and run)"
	}
	return ps
}

// checkSize requires every bound to be set, so that none is an unnoticed default.
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
			ps = append(ps, &Problem{File: f.File, Where: "deploy.options." + c.field, Detail: "is not set", Remedy: "set every bound, with the reason beside the number"})
		}
	}
	return append(ps, f.checkMemory()...)
}

// checkMemory requires GOMEMLIMIT to be below the container's memory limit. The Go
// runtime does not know that limit: without GOMEMLIMIT, garbage of a burst can
// exceed it, and the kernel kills the process.
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
	return Problems{{File: f.File, Where: "run.envs.GOMEMLIMIT", Detail: fmt.Sprintf("is %q, with a memory limit of %s", value, limit.String()), Remedy: "set at most nine tenths of the limit, such as 450MiB of 512Mi"}}
}
