//go:build tools

// What BROKER=kafka has scripts/cluster.sh build from this module.
package main

import (
	_ "knative.dev/eventing-kafka-broker/control-plane/cmd/kafka-controller"
	_ "knative.dev/eventing-kafka-broker/control-plane/cmd/webhook-kafka"
)
