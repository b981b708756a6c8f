package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"sigs.k8s.io/yaml"
)

func quiet() *log.Logger { return log.New(io.Discard, "", 0) }

// hostBuilder does what func v0.50 does for `version` and `build --builder
// host`, step by step: scaffolding beside the source, go mod tidy and go build by
// FUNC_GO with CGO_ENABLED=0 in the environment, one layer of the source's files
// under /func, one of the binary /func/f, pushed as an index.
func hostBuilder(args []string) error {
	if len(args) > 0 && args[0] == "version" {
		fmt.Println("v0.50.1 (stand-in)")
		return nil
	}
	if len(args) == 0 || args[0] != "build" {
		return fmt.Errorf("func %v: only version and build are stood in for", args)
	}
	f := flag.NewFlagSet("func build", flag.ContinueOnError)
	root, builder := f.String("path", ".", ""), f.String("builder", "pack", "")
	repository, base, push := f.String("registry", "", ""), f.String("base-image", "", ""), f.Bool("push", false, "")
	if err := f.Parse(args[1:]); err != nil {
		return err
	}
	if *builder != "host" || *repository == "" || !*push {
		return errors.New("func build: want --builder host, --registry and --push")
	}
	name, err := functionName(*root)
	if err != nil {
		return err
	}
	exe, err := compile(*root, v1.Platform{OS: runtime.GOOS, Architecture: runtime.GOARCH})
	if err != nil {
		return err
	}
	return pushImage(*root, exe, *base, *repository+"/"+name)
}

func functionName(root string) (string, error) {
	text, err := os.ReadFile(filepath.Join(root, "func.yaml"))
	if err != nil {
		return "", err
	}
	var f struct{ Name, Runtime, Invoke, Created string }
	if err := yaml.Unmarshal(text, &f); err != nil {
		return "", err
	}
	if f.Name == "" || f.Runtime != "go" || f.Invoke != "http" || f.Created == "" {
		return "", fmt.Errorf("func.yaml: %+v is no initialised Go function for http", f)
	}
	return f.Name, nil
}

// scaffold is func's own main of a Go function with New and invoke: http.
const scaffold = `package main

import (
	"fmt"
	"os"

	"knative.dev/func-go/http"

	f "MODULE"
)

func main() {
	if err := http.Start(f.New()); err != nil {
		fmt.Fprintln(os.Stderr, err.Error())
		os.Exit(1)
	}
}
`

const scaffoldMod = `module s

replace MODULE => ./f

go VERSION

require (
	MODULE v0.0.0-00010101000000-000000000000
	knative.dev/func-go v0.22.0
)
`

// compile builds the function as func's host builder does.
func compile(root string, p v1.Platform) (exe string, err error) {
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		return "", err
	}
	values := strings.NewReplacer("MODULE", word(mod, "module "), "VERSION", word(mod, "go "))
	dir := filepath.Join(root, ".func", "build")
	if err := os.MkdirAll(dir, 0o774); err != nil {
		return "", err
	}
	err = errors.Join(
		os.WriteFile(filepath.Join(dir, "main.go"), []byte(values.Replace(scaffold)), 0o644),
		os.WriteFile(filepath.Join(dir, "go.mod"), []byte(values.Replace(scaffoldMod)), 0o644),
		os.Symlink(filepath.Join("..", ".."), filepath.Join(dir, "f")))
	if err != nil {
		return "", err
	}
	tool := os.Getenv("FUNC_GO")
	if tool == "" {
		tool = "go"
	}
	exe = filepath.Join("result", "f."+p.OS+"."+p.Architecture)
	for _, args := range [][]string{{"mod", "tidy"}, {"build", "-o", exe}} {
		cmd := exec.Command(tool, args...)
		cmd.Dir, cmd.Stdout, cmd.Stderr = dir, os.Stderr, os.Stderr
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+p.OS, "GOARCH="+p.Architecture)
		if err := cmd.Run(); err != nil {
			return "", fmt.Errorf("%s %v: %w", tool, args, err)
		}
	}
	return filepath.Join(dir, exe), nil
}

// word is what stands after a directive of go.mod.
func word(mod []byte, directive string) string {
	for line := range strings.Lines(string(mod)) {
		if rest, ok := strings.CutPrefix(line, directive); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

// ignored is what func leaves out of the image.
var ignored = []string{".git", ".func", ".funcignore", ".gitignore"}

func pushImage(root, exe, base, repository string) error {
	img, err := pull(base)
	if err != nil {
		return fmt.Errorf("base image: %w", err)
	}
	data, err := layer(func(w *tar.Writer) error {
		return filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if slices.Contains(ignored, d.Name()) {
				if d.IsDir() {
					return filepath.SkipDir
				}
				return nil
			}
			rel, err := filepath.Rel(root, file)
			if err != nil {
				return err
			}
			return add(w, file, path.Join("/func", filepath.ToSlash(rel)), 0)
		})
	})
	if err != nil {
		return err
	}
	binary, err := layer(func(w *tar.Writer) error { return add(w, exe, "/func/f", 0o755) })
	if err != nil {
		return err
	}
	if img, err = mutate.AppendLayers(img, data, binary); err != nil {
		return err
	}
	conf, err := img.ConfigFile()
	if err != nil {
		return err
	}
	conf = conf.DeepCopy()
	conf.OS, conf.Architecture = runtime.GOOS, runtime.GOARCH
	conf.Config.Cmd, conf.Config.Entrypoint, conf.Config.WorkingDir = []string{"/func/f"}, nil, "/func/"
	conf.Config.User, conf.Config.ExposedPorts = "1000", map[string]struct{}{"8080/tcp": {}}
	if img, err = mutate.ConfigFile(img, conf); err != nil {
		return err
	}
	return pushIndex(img, root, repository)
}

func pushIndex(img v1.Image, root, repository string) error {
	index := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: img,
		Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: runtime.GOOS, Architecture: runtime.GOARCH}}})
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	to, err := name.NewTag(repository + ":latest")
	if err != nil {
		return err
	}
	if err := remote.WriteIndex(to, index); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(root, ".func", "built-image"), []byte(to.Repository.Name()+"@"+digest.String()), 0o644)
}

// layer makes a layer of what fill writes.
func layer(fill func(*tar.Writer) error) (v1.Layer, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := errors.Join(fill(w), w.Close()); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil })
}

// add adds a file, a folder or a link; mode 0 is the file's own.
func add(w *tar.Writer, file, as string, mode fs.FileMode) error {
	info, err := os.Lstat(file)
	if err != nil {
		return err
	}
	link := ""
	if info.Mode()&fs.ModeSymlink != 0 {
		if link, err = os.Readlink(file); err != nil {
			return err
		}
	}
	h, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return err
	}
	h.Name = as
	if mode != 0 {
		h.Mode = int64(mode)
	}
	if err := w.WriteHeader(h); err != nil || !info.Mode().IsRegular() {
		return err
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}
