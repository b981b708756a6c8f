// Command serve runs the function that FUNCTION_TARGET names, as `func`'s own
// scaffolding does: the Dockerfile's entry point, and what benchmarks start.
package main

import (
	"fmt"
	"os"

	funchttp "knative.dev/func-go/http"

	"pitboss/functions"
)

func main() {
	f, err := functions.New(os.Getenv("FUNCTION_TARGET"))
	if err == nil {
		err = funchttp.Start(f)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
