// Command serve runs the function that FUNCTION_TARGET names, as `func`'s own
// scaffolding does: the Dockerfile's entry point, and what benchmarks start.
package main

import (
	"fmt"
	"net/http"
	"os"

	"knative.dev/func-go/cloudevents"
	funchttp "knative.dev/func-go/http"

	"pitboss/functions"
)

func main() {
	if err := serve(os.Getenv("FUNCTION_TARGET")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(target string) error {
	f, err := functions.New(target)
	if err != nil {
		return err
	}
	if h, ok := f.(interface {
		Handle(http.ResponseWriter, *http.Request)
	}); ok {
		return funchttp.Start(h)
	}
	return cloudevents.Start(f)
}
