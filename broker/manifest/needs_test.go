package manifest_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	sourcesv1 "knative.dev/eventing/pkg/apis/sources/v1"
	"sigs.k8s.io/yaml"

	"pitboss/broker/manifest"
)

// settings finds what a function reads from its environment.
var settings = regexp.MustCompile("`env:\"([A-Z0-9_]+)")

// What a function reads, the cluster gives it: who reads K_SINK is bound to the
// Broker and let out to it, who reads REDIS_URL has it and is let out to Redis,
// who reads files of models has them. On one machine all of it comes from
// `pitboss run`, so nothing else would find out before a deploy.
func TestTheClusterGivesWhatAFunctionReads(t *testing.T) {
	t.Parallel()
	bound := map[string]bool{}
	for _, text := range documents(t, "broker/base/sinkbindings.yaml") {
		var b sourcesv1.SinkBinding
		if err := yaml.UnmarshalStrict(text, &b); err != nil {
			t.Fatal(err)
		}
		if b.Spec.Sink.Ref.Kind != "Broker" || b.Spec.Sink.Ref.Name != "pitboss" {
			t.Errorf("%s is bound to %v", b.Name, b.Spec.Sink.Ref)
		}
		bound[b.Spec.Subject.Name] = true
	}
	selects := map[string]map[string]string{} // labels that a policy's pods have, by policy
	for _, text := range append(documents(t, "broker/base/network.yaml"), documents(t, "broker/rabbitmq/network.yaml")...) {
		var p networkingv1.NetworkPolicy
		if err := yaml.UnmarshalStrict(text, &p); err != nil {
			t.Fatal(err)
		}
		selects[p.Name] = p.Spec.PodSelector.MatchLabels
	}
	funcs, err := manifest.Funcs(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(funcs) < 8 {
		t.Fatalf("%d functions", len(funcs))
	}
	for _, f := range funcs {
		reads := readsOf(t, f.Folder)
		has := map[string]string{}
		for _, e := range f.Run.Envs {
			has[e.Name] = e.Value
		}
		for _, c := range []struct {
			setting, policy string
			given           bool
		}{
			{"K_SINK", "pitboss-publishers", bound[f.Name]},
			{"K_SINK", "pitboss-publishers-rabbitmq", bound[f.Name]},
			{"REDIS_URL", "pitboss-redis", has["REDIS_URL"] != ""},
		} {
			allowed := selected(f, selects[c.policy])
			if reads[c.setting] != c.given || reads[c.setting] != allowed {
				t.Errorf("%s reads %s: %v; given it: %v; in the NetworkPolicy %s: %v",
					f.Folder, c.setting, reads[c.setting], c.given, c.policy, allowed)
			}
		}
		for _, setting := range []string{"MODELS_DIR", "SERVING_FILE", "CONSOLE_TOKENS_FILE", "INGEST_HMAC_KEYS_FILE"} {
			if reads[setting] != (has[setting] != "") {
				t.Errorf("%s reads %s: %v; func.yaml sets it: %q", f.Folder, setting, reads[setting], has[setting])
			}
		}
		for name, value := range has {
			mounted := slices.ContainsFunc(f.Run.Volumes, func(v manifest.FuncVolume) bool { return strings.HasPrefix(value, v.Path+"/") })
			if strings.HasPrefix(value, "/etc/") && !mounted {
				t.Errorf("%s: %s is %s, where nothing is mounted", f.Folder, name, value)
			}
		}
	}
}

// selected reports whether a policy with these labels selects the function's pods.
func selected(f *manifest.Func, labels map[string]string) bool {
	for key, value := range labels {
		if !slices.Contains(f.Deploy.Labels, manifest.FuncPair{Key: key, Value: value}) {
			return false
		}
	}
	return len(labels) > 0
}

// readsOf returns the settings that a function's own sources name, and those of
// the packages that are the function's alone.
func readsOf(t *testing.T, folder string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "functions", folder, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %v", folder, err)
	}
	if folder == "console" { // whose access control is a package of its own
		access, err := filepath.Glob(filepath.Join(root, "internal", "access", "*.go"))
		if err != nil || len(access) == 0 {
			t.Fatalf("internal/access: %v", err)
		}
		files = append(files, access...)
	}
	out := map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range settings.FindAllSubmatch(text, -1) {
			out[string(m[1])] = true
		}
	}
	return out
}

func documents(t *testing.T, file string) (out [][]byte) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(file)))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range strings.Split(string(text), "\n---\n") {
		out = append(out, []byte(d))
	}
	return out
}

// The optional components go onto an overlay as docs/deploy.md says.
func TestComponents(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, part := range []string{"broker/base", "broker/deadletters", "broker/kafka", "broker/openid", "broker/pingsource", "broker/ui", "triggers"} {
		if err := os.CopyFS(filepath.Join(dir, part), os.DirFS(filepath.Join(root, part))); err != nil {
			t.Fatal(err)
		}
	}
	kafka := filepath.Join(dir, "broker", "kafka", "kustomization.yaml")
	text, err := os.ReadFile(kafka)
	if err != nil {
		t.Fatal(err)
	}
	more := strings.Replace(string(text), "components:\n", "components:\n  - ../openid\n  - ../pingsource\n  - ../ui\n", 1)
	if err := os.WriteFile(kafka, []byte(more), 0o644); err != nil {
		t.Fatal(err)
	}
	out := rendered(t, filepath.Dir(kafka))
	for _, want := range []string{"kind: Ingress", "kind: PingSource", "name: pitboss-openid", "name: pitboss-console-page"} {
		if !strings.Contains(out, want) {
			t.Errorf("%s is missing", want)
		}
	}
}
