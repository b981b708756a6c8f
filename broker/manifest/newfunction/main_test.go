package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pitboss/broker/manifest"
)

const root = "../../.."

// TestANewFunctionBuildsAndPassesLint follows the README: one command, then the
// function builds, its own test passes, it is in the registry and make lint is content.
func TestANewFunctionBuildsAndPassesLint(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, part := range []string{"broker", "functions", "internal", "models", "triggers", "docs", "test"} {
		if err := os.CopyFS(filepath.Join(dir, part), os.DirFS(filepath.Join(root, part))); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"go.mod", "go.sum", "func.yaml"} {
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	f := function{Name: "vip", Takes: "pitboss.round.settled.v1", Created: "2026-01-02T03:04:05Z"}
	if _, err := create(dir, f); err != nil {
		t.Fatal(err)
	}
	if err := manifest.Lint(dir); err != nil {
		t.Error(err)
	}
	for _, args := range [][]string{{"test", "./functions/vip"}, {"vet", "./functions"}} {
		cmd := exec.Command("go", args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("go %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	if text, _ := os.ReadFile(filepath.Join(dir, "broker", "base", "accounts.yaml")); !strings.Contains(string(text), "pitboss-vip") {
		t.Error("no ServiceAccount was generated")
	}
	if _, err := create(dir, f); err == nil || !strings.Contains(err.Error(), "exists already") {
		t.Errorf("the second time: %v", err)
	}
}

func TestCreateRefuses(t *testing.T) {
	t.Parallel()
	for want, f := range map[string]function{
		"NAME":       {Name: "Big-Win", Takes: "pitboss.round.settled.v1"},
		"EVENT-TYPE": {Name: "bigwin", Takes: "pitboss.round.settled.v9"},
	} {
		if _, err := create(t.TempDir(), f); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v: got %v, want %s refused", f, err, want)
		}
	}
}
