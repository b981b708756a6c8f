// Command serve runs the function that FUNCTION_TARGET names, as func's own scaffolding
// does. The Dockerfile's image and the benchmarks start it. With CPUPROFILE=FILE it
// writes a CPU profile.
package main

import (
	"fmt"
	"os"
	"runtime/pprof"

	funchttp "knative.dev/func-go/http"

	"pitboss/functions"
)

func main() {
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve() error {
	f, err := functions.FromEnvironment()
	if err != nil {
		return err
	}
	if file := os.Getenv("CPUPROFILE"); file != "" {
		out, err := os.Create(file)
		if err != nil {
			return fmt.Errorf("serve: %w", err)
		}
		defer out.Close()
		if err := pprof.StartCPUProfile(out); err != nil {
			return fmt.Errorf("serve: %w", err)
		}
		defer pprof.StopCPUProfile()
	}
	return funchttp.Start(f)
}
