// Command oci makes images of this machine's files and serves them: the cluster
// has no container engine and reaches no registry.
//
//	oci serve -addr ADDR -dir DIR -netns FILE   a registry, here and in a network namespace
//	oci push [-libs] [-user ID] [-entrypoint COMMAND] REF FILE=PATH...
//
// push makes an image of one layer, of files and folders. -libs adds the shared
// libraries that the files, and those in the folders, are linked with.
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
	"regexp"
	"runtime"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("oci: ")
	var err error
	switch {
	case len(os.Args) > 1 && os.Args[1] == "serve":
		err = serve(os.Args[2:])
	case len(os.Args) > 1 && os.Args[1] == "push":
		err = push(os.Args[2:])
	default:
		err = errors.New("want serve or push")
	}
	if err != nil {
		log.Fatal(err)
	}
}

func push(args []string) error {
	f := flag.NewFlagSet("push", flag.ExitOnError)
	libs, user, entrypoint := f.Bool("libs", false, ""), f.String("user", "65532:65532", ""), f.String("entrypoint", "", "")
	_ = f.Parse(args)
	if f.NArg() < 2 {
		return errors.New("push: want REF FILE=PATH...")
	}
	to, err := name.NewTag(f.Arg(0))
	if err != nil {
		return err
	}
	var text bytes.Buffer
	l := &layer{tar.NewWriter(&text), map[string]bool{}}
	for _, arg := range f.Args()[1:] {
		from, at, ok := strings.Cut(arg, "=")
		if !ok || !path.IsAbs(at) {
			return fmt.Errorf("push: %s: want FILE=PATH, the path absolute", arg)
		}
		if err := l.add(from, at, *libs); err != nil {
			return err
		}
	}
	if err := errors.Join(l.dir("/tmp", 0o1777), l.Close()); err != nil {
		return err
	}
	added, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(text.Bytes())), nil },
		tarball.WithCompressionLevel(1))
	if err != nil {
		return err
	}
	img, err := mutate.AppendLayers(empty.Image, added)
	if err != nil {
		return err
	}
	conf := v1.Config{User: *user}
	conf.Entrypoint = strings.Fields(*entrypoint)
	file, err := img.ConfigFile()
	if err != nil {
		return err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Config = runtime.GOOS, runtime.GOARCH, conf
	if img, err = mutate.ConfigFile(img, file); err != nil {
		return err
	}
	return remote.Write(to, img)
}

// layer is a layer's files, each path once.
type layer struct {
	*tar.Writer
	has map[string]bool
}

func (l *layer) dir(at string, mode int64) error {
	if at = path.Clean(at); at == "/" || l.has[at] {
		return nil
	}
	if err := l.dir(path.Dir(at), 0o755); err != nil {
		return err
	}
	l.has[at] = true
	return l.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: at + "/", Mode: mode})
}

// add adds a file, or a folder with all that is in it.
func (l *layer) add(from, at string, libs bool) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		if err := l.file(from, at); err != nil || !libs {
			return err
		}
		return l.libraries(from, "")
	}
	return filepath.WalkDir(from, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if err := l.file(name, path.Join(at, strings.TrimPrefix(name, from))); err != nil || !libs || path.Ext(name) != ".so" {
			return err
		}
		return l.libraries(name, from)
	})
}

func (l *layer) file(from, at string) error {
	if l.has[at] {
		return nil
	}
	l.has[at] = true
	if err := l.dir(path.Dir(at), 0o755); err != nil {
		return err
	}
	real, err := filepath.EvalSymlinks(from)
	if err != nil {
		return err
	}
	in, err := os.Open(real)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeType != 0 {
		return fmt.Errorf("%s is no file", from)
	}
	if err := l.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: at, Mode: int64(info.Mode().Perm()), Size: info.Size()}); err != nil {
		return err
	}
	_, err = io.Copy(l, in)
	return err
}

var linked = regexp.MustCompile(`(?m)(/\S+) \(0x`)

// libraries adds what exe is linked with, but for libraries in its own folder,
// which it finds there.
func (l *layer) libraries(exe, own string) error {
	out, err := exec.Command("ldd", exe).CombinedOutput()
	if bytes.Contains(out, []byte("not a dynamic executable")) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("ldd %s: %w: %s", exe, err, out)
	}
	for _, m := range linked.FindAllSubmatch(out, -1) {
		lib := string(m[1])
		if own != "" && strings.HasPrefix(lib, own+"/") {
			continue
		}
		if err := l.file(lib, lib); err != nil {
			return err
		}
	}
	return nil
}
