// Command image tests scripts/image.sh without a cluster. func's own code builds the image
// and pushes it to a registry in this process. The command pulls and unpacks it, and starts
// every function as a cluster would: with the image's and Knative's environment, as an
// arbitrary user, without capabilities, with a read-only root filesystem, and probed from
// another address. Then an event goes from profile to decide.
//
//	image [-root DIR] [-base IMAGE]
//
// scripts/image.sh, scripts/go-cgo, func's host builder (./func), the registry's protocol,
// the image, the kernel's limits and Redis are real. This machine's glibc, libstdc++ and
// libgcc stand in for distroless/cc-debian12.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/google/go-containerregistry/pkg/registry"
)

func main() {
	root := flag.String("root", "../..", "the repository")
	base := flag.String("base", "", "the base image; default: one of this machine's libraries")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	exit(check(ctx, *root, *base))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func check(ctx context.Context, root, base string) (err error) {
	if os.Getuid() != 0 {
		return errors.New("needs root: it mounts the image read-only and starts its functions as another user")
	}
	if root, err = filepath.Abs(root); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "image-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // so that the functions' user can pass through
		return err
	}
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	if base == "" {
		base = host + "/cc-debian12:nonroot"
		if err := pushBase(base); err != nil {
			return fmt.Errorf("base image: %w", err)
		}
	}
	digest, err := build(ctx, root, dir, host+"/team", base)
	if err != nil {
		return err
	}
	c, err := unpack(digest, filepath.Join(dir, "root"))
	if err != nil {
		return fmt.Errorf("%s: %w", digest, err)
	}
	if err := c.tell(digest); err != nil {
		return err
	}
	return walk(ctx, root, dir, c)
}

// build runs scripts/image.sh with func's builder and returns the digest that the script
// wrote.
func build(ctx context.Context, root, dir, repository, base string) (string, error) {
	bin := filepath.Join(dir, "bin")
	tool := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(bin, "func"), "./func")
	tool.Dir, tool.Stderr = filepath.Join(root, "test", "image"), os.Stderr
	if err := tool.Run(); err != nil {
		return "", fmt.Errorf("func: %w", err)
	}
	cmd := exec.CommandContext(ctx, filepath.Join(root, "scripts", "image.sh"), "func")
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "REGISTRY="+repository, "BASE_IMAGE="+base)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("image.sh: %w", err)
	}
	lines := strings.Split(string(bytes.TrimSpace(out)), "\n")
	return lines[len(lines)-1], nil
}
