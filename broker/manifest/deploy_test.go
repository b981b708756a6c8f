package manifest_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"pitboss/broker/manifest"
	"pitboss/test/kustomize"
)

const image = "registry.example/team/pitboss@sha256:aa3c1e7d7b0c6a2f8f5a0e2b6b1c4d9e8f7a6b5c4d3e2f1a0b9c8d7e6f5a4b3c"

// recorder stands in for kubectl, func and go: it writes down how it was called
// and keeps what it was to apply, or deploys it; func's spoils the func.yaml it
// is given, as func does.
const recorder = `#!/usr/bin/env bash
echo "$(basename "$0") $*" >> "$CALLS/log"
[[ "$*" != *"get configmap"* ]] || exit "${NO_CONFIGMAP:-0}"
for ((i = 1; i < $#; i++)); do
  j=$((i + 1))
  case ${!i} in
    -k) [[ ${!j} == broker/* ]] || cp -r "${!j}" "$CALLS/services" ;;
    --path) cp "${!j}/func.yaml" "$CALLS/$(basename "${!j}").yaml"; echo "spoilt: true" >> "${!j}/func.yaml" ;;
  esac
done
`

// deployed runs a script of the repository in a copy of it with stand-ins for
// the tools, and returns their calls and the folder with what they were given.
func deployed(t *testing.T, script string, env ...string) (calls []string, dir string) {
	t.Helper()
	dir = t.TempDir()
	repo := copyManifests(t)
	write := func(name, text string) {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(filepath.Join(root, "scripts", script))
	if err != nil {
		t.Fatal(err)
	}
	write(filepath.Join(repo, "scripts", script), string(text))
	write(filepath.Join(repo, ".func", "image"), image+"\n")
	for _, overlay := range []string{"kafka", "services"} {
		if err := os.CopyFS(filepath.Join(repo, "broker", overlay), os.DirFS(filepath.Join(root, "broker", overlay))); err != nil {
			t.Fatal(err)
		}
	}
	for _, tool := range []string{"kubectl", "func", "go"} {
		write(filepath.Join(dir, "bin", tool), recorder)
	}
	cmd := exec.Command("bash", filepath.Join(repo, "scripts", script))
	cmd.Env = append(os.Environ(), append(env, "CALLS="+dir, "PATH="+filepath.Join(dir, "bin")+":"+os.Getenv("PATH"))...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	log, err := os.ReadFile(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"functions/score/func.yaml", "functions/ingest/func.yaml"} {
		if got, err := os.ReadFile(filepath.Join(repo, file)); err != nil || strings.Contains(string(got), "spoilt") {
			t.Errorf("%s was changed: %v", file, err)
		}
	}
	return strings.Split(strings.TrimSpace(string(log)), "\n"), dir
}

// func deploys every function once, from a copy of its func.yaml, by the
// image's digest and without building or pushing again.
func TestDeployWithFunc(t *testing.T) {
	t.Parallel()
	calls, dir := deployed(t, "deploy.sh", "NAMESPACE=games")
	funcs, err := manifest.Funcs(root)
	if err != nil {
		t.Fatal(err)
	}
	var deploys []string
	for _, call := range calls {
		if strings.HasPrefix(call, "func ") {
			deploys = append(deploys, call)
		}
	}
	if len(deploys) != len(funcs) {
		t.Fatalf("%d deploys of %d functions: %q", len(deploys), len(funcs), deploys)
	}
	for i, f := range funcs {
		want := fmt.Sprintf("/%s --image %s --build=false --push=false -n games", f.Folder, image)
		if !strings.HasPrefix(deploys[i], "func deploy --path ") || !strings.HasSuffix(deploys[i], want) {
			t.Errorf("%s: %s", f.Folder, deploys[i])
		}
		ours, _ := os.ReadFile(f.File)
		if theirs, err := os.ReadFile(filepath.Join(dir, f.Folder+".yaml")); err != nil || string(theirs) != string(ours) {
			t.Errorf("func was given another %s: %v", f.File, err)
		}
	}
	if lint, apply := slices.Index(calls, "go run ./broker/lint"), slices.Index(calls, "kubectl apply --server-side -n games -k broker/kafka"); lint != 0 || apply < 0 {
		t.Errorf("not linted first, or the overlay was not applied: %q", calls)
	}
	objects := rendered(t, filepath.Join(dir, "services"))
	if !strings.Contains(objects, "kind: CronJob") || !strings.Contains(objects, "image: "+image) || strings.Contains(objects, "serving.knative.dev") {
		t.Errorf("beside what func deploys:\n%s", objects)
	}
}

// What is live on the cluster is not overwritten by what the checkout says.
func TestDeployKeepsTheLineup(t *testing.T) {
	t.Parallel()
	create := "kubectl -n games create configmap pitboss-serving --from-file=models/serving.yaml"
	for missing, want := range map[string]bool{"1": true, "0": false} {
		calls, _ := deployed(t, "deploy.sh", "NAMESPACE=games", "NO_CONFIGMAP="+missing)
		if slices.Contains(calls, create) != want {
			t.Errorf("with the ConfigMap missing %s: %q", missing, calls)
		}
	}
}

// cluster stands in for kubectl of a cluster whose pod takes a while: logs are
// refused while its container is created, as the real one refuses them.
const cluster = `#!/usr/bin/env bash
echo "kubectl $*" >> "$DIR/log"
case "$*" in
  *"create job"*) echo made ;;
  patch*) [[ $(cat) == made ]] && while [[ $1 != -p ]]; do shift; done && printf %s "$2" > "$DIR/patch" && echo patched ;;
  *apply*) [[ $(cat) == patched ]] ;;
  *"get pods"*) head -1 "$DIR/phases"; [[ $(wc -l < "$DIR/phases") -eq 1 ]] || sed -i 1d "$DIR/phases" ;;
  *logs*)
    [[ $(head -1 "$DIR/phases") != *Pending* ]] || { echo "container is waiting to start: ContainerCreating" >&2; exit 1; }
    echo "what the command prints" ;;
esac
`

// segments runs scripts/segments.sh on a cluster whose pod goes through phases.
func segments(t *testing.T, phases string, words ...string) (out, dir string, err error) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range map[string]string{"kubectl": cluster, "phases": phases} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(filepath.Join(root, "scripts", "segments.sh"), words...)
	cmd.Env = append(os.Environ(), "NAMESPACE=games", "DIR="+dir, "PATH="+dir+":"+os.Getenv("PATH"))
	text, err := cmd.CombinedOutput()
	return string(text), dir, err
}

// A command beside the segments is the CronJob's own container with that
// command, whatever its words hold, once, and the Job is taken away again.
func TestSegments(t *testing.T) {
	t.Parallel()
	words := []string{"explain", "--player", `a"l\ice's $HOME`, "--until", "2026-01-02T14:02:59Z"}
	out, dir, err := segments(t, "\nPending\nPending\nRunning\nSucceeded\n", words...)
	if err != nil || !strings.Contains(out, "what the command prints") {
		t.Fatalf("%v: %s", err, out)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "patch"))
	if err != nil {
		t.Fatal(err)
	}
	var patch []struct {
		Op, Path string
		Value    any
	}
	if err := yaml.Unmarshal(raw, &patch); err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
	want := append(append([]string{"/func/cli"}, words...), "--segments", "/journal")
	if len(patch) != 2 || patch[0].Op != "replace" || patch[0].Path != "/spec/template/spec/containers/0/command" || fmt.Sprint(patch[0].Value) != fmt.Sprint(want) ||
		patch[1].Path != "/spec/backoffLimit" || fmt.Sprint(patch[1].Value) != "0" {
		t.Errorf("%s\nwant %q", raw, want)
	}
	log, _ := os.ReadFile(filepath.Join(dir, "log"))
	calls := strings.Split(strings.TrimSpace(string(log)), "\n")
	if last := calls[len(calls)-1]; !strings.HasPrefix(last, "kubectl -n games delete job pitboss-segments-") {
		t.Errorf("the last call is %s", last)
	}
}

// A command that fails is a script that fails, after its output.
func TestSegmentsTellsAFailure(t *testing.T) {
	t.Parallel()
	out, _, err := segments(t, "Pending\nRunning\nFailed\n", "journal", "verify")
	if err == nil || !strings.Contains(out, "what the command prints") {
		t.Fatalf("%v: %s", err, out)
	}
}

// kubectl deploys the same functions, and the journal's schedule, by the image's digest.
func TestDeployWithKubectl(t *testing.T) {
	t.Parallel()
	calls, dir := deployed(t, "deploy.sh", "NAMESPACE=games", "METHOD=kubectl")
	objects := rendered(t, filepath.Join(dir, "services"))
	funcs, err := manifest.Funcs(root)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(objects, "image: "+image+"\n"); got != len(funcs)+1 {
		t.Errorf("%d containers of the image, want %d:\n%s", got, len(funcs)+1, objects)
	}
	for _, call := range calls {
		if strings.HasPrefix(call, "func ") {
			t.Errorf("func was called: %s", call)
		}
		// The SinkBinding's webhook owns the containers from the first deploy on.
		if strings.Contains(call, "broker-services") && !strings.Contains(call, "--force-conflicts") {
			t.Errorf("the second deploy is a conflict: %s", call)
		}
	}
}

// undeploy takes who brings events away first, and names nothing that holds
// data: not the Broker and its Triggers either, unless it is told to lose events.
func TestUndeploy(t *testing.T) {
	t.Parallel()
	calls, _ := deployed(t, "undeploy.sh", "NAMESPACE=games")
	if len(calls) != 3 || !strings.Contains(calls[0], "delete ksvc pitboss-ingest pitboss-timer") || !strings.Contains(calls[1], "delete ksvc,cronjob") {
		t.Errorf("%q", calls)
	}
	for _, call := range calls {
		if strings.Contains(call, "trigger") || strings.Contains(call, "-k ") {
			t.Errorf("loses events: %s", call)
		}
	}
	if calls, _ = deployed(t, "undeploy.sh", "NAMESPACE=games", "EVENTS=lose"); len(calls) != 5 || !strings.Contains(calls[1], "delete trigger -l app.kubernetes.io/part-of=pitboss") {
		t.Errorf("%q", calls)
	}
	for _, call := range calls {
		for _, keep := range []string{"persistentvolumeclaim", "pvc", "secret", "namespace games"} {
			if strings.Contains(strings.ToLower(call), keep) {
				t.Errorf("deletes what must stay: %s", call)
			}
		}
	}
}

func rendered(t *testing.T, dir string) string {
	t.Helper()
	text, err := kustomize.Render(dir)
	if err != nil {
		t.Fatal(err)
	}
	if ps := manifest.Check(dir, text); len(ps) > 0 {
		t.Error(ps)
	}
	return string(text)
}
