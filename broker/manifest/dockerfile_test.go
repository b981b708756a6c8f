package manifest_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pitboss/broker/manifest"
)

func file(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func found(t *testing.T, name, pattern string) string {
	t.Helper()
	m := regexp.MustCompile(pattern).FindStringSubmatch(file(t, name))
	if m == nil {
		t.Fatalf("%s has no %s", name, pattern)
	}
	return m[1]
}

// The Dockerfile and what it builds from stay together: Go's version, the base
// image, the environment of func.yaml, the paths it copies.
func TestDockerfileIsCurrent(t *testing.T) {
	t.Parallel()
	if docker, mod := found(t, "Dockerfile", `FROM golang:(\d+\.\d+)-bookworm`), found(t, "go.mod", `(?m)^go (\d+\.\d+)`); docker != mod {
		t.Errorf("builds with Go %s, go.mod wants %s", docker, mod)
	}
	text := file(t, "Dockerfile")
	if base := found(t, "scripts/image.sh", `base=\$\{BASE_IMAGE:-(\S+)\}`); !strings.Contains(text, "\nFROM "+base+"\n") {
		t.Errorf("another base image than make image's %s", base)
	}
	for _, want := range []string{"LISTEN_ADDRESS=[::]:8080", "\nUSER 65532:65532\n", "\nSTOPSIGNAL SIGTERM\n", "cp -r models /func/models"} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %q", want)
		}
	}
	funcs, err := manifest.Funcs(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range funcs {
		for _, e := range f.Run.Envs {
			inImage := []string{"MODELS_DIR", "ONNXRUNTIME_LIB", "ORT_DISABLE_TELEMETRY", "MALLOC_ARENA_MAX"}
			if slices.Contains(inImage, e.Name) && !strings.Contains(text, e.Name+"="+e.Value) {
				t.Errorf("%s has %s=%s, the image not", f.File, e.Name, e.Value)
			}
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^COPY ([^-].*) \S+$`).FindAllStringSubmatch(text, -1) {
		for _, path := range strings.Fields(m[1]) {
			if _, err := os.Stat(filepath.Join(root, path)); err != nil || ignored(t, path) {
				t.Errorf("copies %s, which is not there or in .dockerignore: %v", path, err)
			}
		}
	}
}

// Nothing that the Dockerfile compiles or embeds is kept out of the build by .dockerignore.
func TestDockerignoreLeavesTheBuildWhole(t *testing.T) {
	t.Parallel()
	builds := regexp.MustCompile(`go-build\.sh .*? (\./\S+)`).FindAllStringSubmatch(file(t, "Dockerfile"), -1)
	if len(builds) == 0 {
		t.Fatal("the Dockerfile compiles nothing")
	}
	for _, m := range builds {
		list := exec.Command("go", "list", "-deps", "-f", `{{if and .Module .Module.Main}}{{$d := .Dir}}{{.Dir}}{{range .EmbedFiles}}
{{$d}}/{{.}}{{end}}{{end}}`, m[1])
		list.Dir = root
		out, err := list.Output()
		if err != nil {
			t.Fatalf("%s: %v", m[1], err)
		}
		abs, err := filepath.Abs(root)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range strings.Fields(string(out)) {
			if rel, err := filepath.Rel(abs, path); err != nil || ignored(t, rel) {
				t.Errorf("%s needs %s, which .dockerignore keeps out", m[1], rel)
			}
		}
	}
}

// ignored says whether .dockerignore has path, or a folder above it.
func ignored(t *testing.T, path string) bool {
	parts := strings.Split(filepath.ToSlash(filepath.Clean(path)), "/")
	for _, line := range strings.Fields(file(t, ".dockerignore")) {
		name, anywhere := strings.CutPrefix(line, "**/")
		if anywhere && slices.Contains(parts, name) || !anywhere && strings.HasPrefix(strings.Join(parts, "/")+"/", line+"/") {
			return true
		}
	}
	return false
}
