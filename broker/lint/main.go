// Command lint checks the repository's manifests: Broker, Triggers, func.yaml
// files and everything kustomize deploys. It is part of `make lint`.
//
//	go run ./broker/lint [ROOT]
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
	if err := manifest.Lint(root); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
