package main

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// pushBase pushes an image with the libraries of distroless/cc.
func pushBase(ref string) error {
	files, err := libraries()
	if err != nil {
		return err
	}
	l, err := layer(func(w *tar.Writer) error {
		for _, dir := range []string{"proc", "tmp", "dev"} {
			if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "/" + dir, Mode: 0o755}); err != nil {
				return err
			}
		}
		for _, f := range files {
			real, err := filepath.EvalSymlinks(f)
			if err != nil {
				return err
			}
			if err := add(w, real, f, 0o755); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	img, err := mutate.AppendLayers(empty.Image, l)
	if err != nil {
		return err
	}
	to, err := name.ParseReference(ref)
	if err != nil {
		return err
	}
	return remote.Write(to, img)
}

// libraries returns the paths of the loader, glibc, libstdc++ and libgcc, from ldconfig.
func libraries() (out []string, err error) {
	cache, err := exec.Command("/sbin/ldconfig", "-p").Output()
	if err != nil {
		return nil, fmt.Errorf("ldconfig: %w", err)
	}
	for _, lib := range []string{"ld-linux", "libc.so.6", "libm.so.6", "libdl.so.2", "librt.so.1", "libpthread.so.0", "libresolv.so.2", "libstdc++.so.6", "libgcc_s.so.1"} {
		found := false
		for line := range strings.Lines(string(cache)) {
			what, where, ok := strings.Cut(strings.TrimSpace(line), " => ")
			if ok && strings.HasPrefix(what, lib) && (strings.Contains(what, "x86-64") || strings.Contains(what, "AArch64") || lib == "ld-linux") && !found {
				out, found = append(out, where), true
			}
		}
		if !found {
			return nil, fmt.Errorf("this machine has no %s", lib)
		}
	}
	out = append(out, "/lib64/ld-linux-x86-64.so.2") // the kernel looks for the loader there
	if runtime.GOARCH == "arm64" {
		out[len(out)-1] = "/lib/ld-linux-aarch64.so.1"
	}
	return out, nil
}

func pull(ref string) (v1.Image, error) {
	from, err := name.ParseReference(ref)
	if err != nil {
		return nil, err
	}
	return remote.Image(from, remote.WithPlatform(v1.Platform{OS: runtime.GOOS, Architecture: runtime.GOARCH}))
}

// container is an image, unpacked.
type container struct {
	root  string
	conf  v1.Config
	files int
	bytes int64
}

func unpack(ref, root string) (*container, error) {
	img, err := pull(ref)
	if err != nil {
		return nil, err
	}
	conf, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	c := &container{root: root, conf: conf.Config}
	flat := mutate.Extract(img)
	defer flat.Close()
	for r := tar.NewReader(flat); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return c, nil
		}
		if err == nil {
			err = c.put(h, r)
		}
		if err != nil {
			return nil, err
		}
	}
}

func (c *container) put(h *tar.Header, r io.Reader) error {
	to := filepath.Join(c.root, filepath.Clean("/"+h.Name))
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return os.MkdirAll(to, os.FileMode(h.Mode)&0o777)
	case tar.TypeSymlink:
		return os.Symlink(h.Linkname, to)
	}
	f, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, os.FileMode(h.Mode)&0o777)
	if err != nil {
		return err
	}
	n, err := io.Copy(f, r)
	c.files++
	c.bytes += n
	return errors.Join(err, f.Close())
}

// tell checks the image's configuration.
func (c *container) tell(digest string) error {
	fmt.Printf("%-18s %s\n%-18s %d, %d MB\n", "image", digest, "files", c.files, c.bytes>>20)
	if s := c.conf.StopSignal; s != "" && s != "SIGTERM" {
		return fmt.Errorf("the image ends on %s: its functions can't drain", s)
	}
	if c.user() == "" || c.user() == "0" || c.user() == "root" {
		return fmt.Errorf("the image's user is %q", c.conf.User)
	}
	return nil
}

// user returns the image's user, without its group.
func (c *container) user() string {
	user, _, _ := strings.Cut(c.conf.User, ":")
	return user
}

// env returns the image's environment.
func (c *container) env() map[string]string {
	out := map[string]string{}
	for _, e := range c.conf.Env {
		name, value, _ := strings.Cut(e, "=")
		out[name] = value
	}
	return out
}
