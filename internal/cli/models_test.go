package cli

import (
	"os"
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
