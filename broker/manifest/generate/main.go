// Command generate writes the derived manifests: EventTypes from the event
// catalogue, Knative Services from the func.yaml files.
//
//	go run ./broker/manifest/generate [ROOT]
package main

import (
	"fmt"
	"os"

	"pitboss/broker/manifest"
)

func main() {
	root := "."
	if len(os.Args) > 1 {
		root = os.Args[1]
	}
	if err := manifest.Generate(root); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
