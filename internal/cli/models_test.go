package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// runModels runs `pitboss models …` on dir and returns what it printed.
func runModels(t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	cmd := modelsCmd()
	var out strings.Builder
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(append(args, "--models", dir))
	err := cmd.Execute()
	return out.String(), err
}

func TestPromoteAndRollBackChangeOneLineOfServing(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../../models")); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "serving.yaml")
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	changed := func() (lines []string) {
		t.Helper()
		now, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		old := strings.Split(string(before), "\n")
		for i, l := range strings.Split(string(now), "\n") {
			if i >= len(old) || l != old[i] {
				lines = append(lines, l)
			}
		}
		return lines
	}
	if _, err := runModels(t, dir, "promote", "leave", "v2"); err != nil {
		t.Fatal(err)
	}
	if got := changed(); len(got) != 1 || !strings.Contains(got[0], "live: v2, shadow: [v1], previous: v1") {
		t.Errorf("promote changed %q", got)
	}
	if _, err := runModels(t, dir, "promote", "leave", "v9"); err == nil || len(changed()) != 1 {
		t.Errorf("promoted a version that is not there: %v", err)
	}
	if _, err := runModels(t, dir, "rollback", "leave"); err != nil {
		t.Fatal(err)
	}
	if got := changed(); len(got) != 1 || !strings.Contains(got[0], "live: v1, shadow: [v2], previous: v2") {
		t.Errorf("rollback changed %q", got)
	}
	if _, err := runModels(t, dir, "rollback", "harm"); err == nil {
		t.Error("rolled back a model that never had another version")
	}
}

func TestCheckNamesTheModelThatIsWrong(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../../models")); err != nil {
		t.Fatal(err)
	}
	if _, err := runModels(t, dir, "check"); err != nil {
		t.Fatalf("the shipped models: %v", err)
	}
	if err := os.Truncate(filepath.Join(dir, "leave/v1/model.onnx"), 1000); err != nil {
		t.Fatal(err)
	}
	if _, err := runModels(t, dir, "check"); err == nil || !strings.Contains(err.Error(), "leave/v1/model.onnx") {
		t.Errorf("error %v, want one that names leave/v1/model.onnx", err)
	}
}

// TestMain lets scripts of the repository call this binary as bin/pitboss.
func TestMain(m *testing.M) {
	if os.Getenv("PITBOSS_TEST_CLI") != "" {
		os.Exit(Main("test"))
	}
	os.Exit(m.Run())
}

// scripts/promote.sh changes the cluster's serving.yaml and not the checkout. A version that
// cannot be promoted changes neither.
func TestPromoteOnACluster(t *testing.T) {
	t.Parallel()
	repo := t.TempDir()
	models, err := filepath.Abs("../../models")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(repo, "models"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"features.yaml", "markers.yaml", "leave"} {
		if err := os.Symlink(filepath.Join(models, name), filepath.Join(repo, "models", name)); err != nil {
			t.Fatal(err)
		}
	}
	lineup, err := os.ReadFile(filepath.Join(models, "serving.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile("../../scripts/promote.sh")
	if err != nil {
		t.Fatal(err)
	}
	cluster := filepath.Join(repo, "cluster.yaml") // the ConfigMap's one key
	for name, text := range map[string]string{
		"scripts/promote.sh":  string(script),
		"models/serving.yaml": string(lineup),
		"bin/pitboss":         "#!/bin/sh\nPITBOSS_TEST_CLI=1 exec " + os.Args[0] + ` "$@"` + "\n",
		"bin/kubectl": `#!/usr/bin/env bash
case "$*" in
  "-n games get configmap pitboss-serving -o jsonpath="*) cat "$CLUSTER" ;;
  "-n games create configmap pitboss-serving --from-file="*/serving.yaml" --dry-run=client -o yaml") f=${6#--from-file=}; cat "$f" ;;
  "-n games replace -f -") cat > "$CLUSTER.new" && [[ -s $CLUSTER.new ]] && mv "$CLUSTER.new" "$CLUSTER" ;;
  *) echo "kubectl $*: not expected" >&2; exit 1 ;;
esac
`,
	} {
		path := filepath.Join(repo, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	checkout := filepath.Join(repo, "models", "serving.yaml")
	read := func(path string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	before := read(checkout)
	// The cluster's file differs from the checkout's.
	if err := os.WriteFile(cluster, []byte(strings.Replace(before, "leave: {live: v1, shadow: [v2]}", "leave: {live: v1}", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	promote := func(args ...string) (string, error) {
		cmd := exec.Command("bash", append([]string{filepath.Join(repo, "scripts", "promote.sh")}, args...)...)
		cmd.Env = append(os.Environ(), "NAMESPACE=games", "CLUSTER="+cluster, "PATH="+filepath.Join(repo, "bin")+":"+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	for _, step := range []struct {
		args []string
		want string
	}{
		{[]string{"leave", "--shadow", "v2"}, "leave: {live: v1, shadow: [v2]}"},
		{[]string{"leave", "--shadow", "v2"}, ""},
		{[]string{"leave", "v2"}, "leave: {live: v2, shadow: [v1], previous: v1}"},
		{[]string{"leave", "v9"}, ""},
		{[]string{"leave", "--rollback"}, "leave: {live: v1, shadow: [v2], previous: v2}"},
		{[]string{"leave"}, ""},
	} {
		was := read(cluster)
		out, err := promote(step.args...)
		if (err == nil) != (step.want != "") || !strings.Contains(read(cluster), step.want) || step.want == "" && read(cluster) != was {
			t.Errorf("%v: %v %s\n%s", step.args, err, out, read(cluster))
		}
	}
	if read(checkout) != before {
		t.Error("the checkout's serving.yaml was changed")
	}
}

func TestImportAsksThenWritesAVersionThatChecks(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../../models")); err != nil {
		t.Fatal(err)
	}
	file := "../model/testdata/onnx/lightgbm-zipmap.onnx"
	out, err := runModels(t, dir, "import", file)
	if err == nil || !strings.Contains(out, "--rows FILE.csv") || !strings.Contains(out, "--features A,B,…: the 4 columns") {
		t.Fatalf("%v\n%s", err, out)
	}
	rows := filepath.Join(t.TempDir(), "rows.csv")
	if err := os.WriteFile(rows, []byte("rounds_1m,rounds_10m,rounds_1h,stake_last\n0,0.5,1,100\n1,2,3,200\n-1,0.2,7,50\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err = runModels(t, dir, "import", file, "--name", "leave", "--version", "v9", "--rows", rows)
	if err != nil || !strings.Contains(out, "explained by exact Shapley values") {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err = runModels(t, dir, "check", filepath.Join(dir, "leave", "v9")); err != nil || !strings.Contains(out, "leave/v9: good") {
		t.Fatalf("%v\n%s", err, out)
	}
	if _, err = runModels(t, dir, "import", file, "--name", "leave", "--version", "v9", "--rows", rows); err == nil || !strings.Contains(err.Error(), "exists already") {
		t.Fatal(err)
	}
}
