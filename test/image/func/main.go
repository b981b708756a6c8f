// Command func is the part of the func CLI that scripts/image.sh needs, made from func's own
// code: `version`, and `build --builder host` with --push. The whole CLI of this version
// does not build as a Go module, because of one of its dependencies; its host builder and
// its pusher do.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"knative.dev/func/pkg/functions"
	"knative.dev/func/pkg/oci"
)

const version = "v0.50.1" // that of knative.dev/func in go.mod

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "func:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	switch {
	case len(args) > 0 && args[0] == "version":
		fmt.Println(version)
		return nil
	case len(args) > 0 && args[0] == "build":
		return build(ctx, args[1:])
	}
	return fmt.Errorf("%q: only version and build are here", args)
}

func build(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("func build", flag.ContinueOnError)
	path, builder := f.String("path", ".", ""), f.String("builder", "pack", "")
	registry, base, push := f.String("registry", "", ""), f.String("base-image", "", ""), f.Bool("push", false, "")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *builder != "host" || *registry == "" || !*push {
		return errors.New("build: want --builder host, --registry and --push")
	}
	root, err := filepath.Abs(*path)
	if err != nil {
		return err
	}
	fn, err := functions.NewFunction(root)
	if err != nil {
		return err
	}
	if !fn.Initialized() {
		return fmt.Errorf("build: %s has no initialised function", root)
	}
	fn.Registry, fn.Build.Builder, fn.Build.BaseImage = *registry, *builder, *base
	if fn.Build.Image, err = fn.ImageName(); err != nil {
		return err
	}
	if err := oci.NewBuilder("host", false).Build(ctx, fn, []functions.Platform{{OS: runtime.GOOS, Architecture: runtime.GOARCH}}); err != nil {
		return err
	}
	digest, err := oci.NewPusher(false, true, false).Push(ctx, fn)
	if err != nil {
		return err
	}
	fmt.Println(fn.ImageNameWithDigest(digest))
	return os.WriteFile(filepath.Join(root, functions.RunDataDir, "built-image"), []byte(fn.ImageNameWithDigest(digest)), 0o644)
}
