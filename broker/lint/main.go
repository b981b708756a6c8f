// Command lint checks the repository's manifests: Broker, Triggers, func.yaml
// files and everything kustomize deploys. It is part of `make lint`.
//
//	go run ./broker/lint [ROOT]
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

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
	file := filepath.Join(root, "broker", "base", "broker.yaml")
	b, err := manifest.Broker(file)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	knative, durable := manifest.RetryTime(b.Spec.Delivery)
	fmt.Printf("%s: an event is retried for %v, on Kafka's and RabbitMQ's Brokers for %v, and then is a dead letter\n", file, knative.Round(time.Second), durable.Round(time.Second))
}
