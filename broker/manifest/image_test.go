package manifest_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What func packs becomes /func of another user, whoever builds: every folder
// can be entered and every file read.
func TestTheImageIsReadableByItsUser(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	repo := filepath.Join(dir, "repo")
	script := func(name, text string) {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"image.sh", "go-build.sh"} {
		text, err := os.ReadFile(filepath.Join(root, "scripts", name))
		if err != nil {
			t.Fatal(err)
		}
		script(filepath.Join(repo, "scripts", name), string(text))
	}
	script(filepath.Join(repo, "scripts", "onnxruntime.sh"), "#!/usr/bin/env bash\ntouch \"$CALLS/lib\" && echo \"$CALLS/lib\"\n")
	script(filepath.Join(repo, "models", "features.yaml"), "features: []\n")
	script(filepath.Join(dir, "bin", "go"), "#!/usr/bin/env bash\nwhile [[ $1 != -o ]]; do shift; done\ntouch \"$2\" && chmod +x \"$2\"\n")
	script(filepath.Join(dir, "bin", "func"), `#!/usr/bin/env bash
[[ $1 != version ]] || { echo v0.50.1; exit; }
while [[ $1 != --path ]]; do shift; done
cd "$2" && find . ! -perm -o=r -o -type d ! -perm -o=x > "$CALLS/hidden"
mkdir -p .func && echo `+image+` > .func/built-image
`)
	for _, args := range [][]string{{"init", "-q"}, {"add", "."}, {"-c", "user.name=t", "-c", "user.email=t@example", "commit", "-qm", "t"}} {
		if out, err := exec.Command("git", append([]string{"-C", repo}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
	}
	cmd := exec.Command("bash", "-c", "umask 077 && exec scripts/image.sh func")
	cmd.Dir = repo
	cmd.Env = append(os.Environ(), "CALLS="+dir, "REGISTRY=registry.example/team", "PATH="+filepath.Join(dir, "bin")+":"+os.Getenv("PATH"))
	if out, err := cmd.CombinedOutput(); err != nil || !strings.HasSuffix(strings.TrimSpace(string(out)), image) {
		t.Fatalf("%v: %s", err, out)
	}
	hidden, err := os.ReadFile(filepath.Join(dir, "hidden"))
	if err != nil || len(hidden) > 0 {
		t.Errorf("hidden from the image's user: %s %v", hidden, err)
	}
}
