package broker_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	ce "github.com/cloudevents/sdk-go/v2/event"

	"pitboss/broker"
)

// A Broker reads Knative's manifests, as a cluster has them. Its one Trigger
// hands rounds to a function that runs in the same process.
func Example() {
	dir, err := os.MkdirTemp("", "broker-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for name, manifest := range map[string]string{"broker.yaml": `
apiVersion: eventing.knative.dev/v1
kind: Broker
metadata: {name: pitboss}
spec: {}
`, "triggers/rounds.yaml": `
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: rounds}
spec:
  broker: pitboss
  filter: {attributes: {type: pitboss.round.settled.v1}}
  subscriber: {ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: printer}}
`} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			log.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(manifest), 0o644); err != nil {
			log.Fatal(err)
		}
	}
	printer := func(_ context.Context, e *ce.Event) (reply *ce.Event, status int, reason string) {
		fmt.Println(e.Type(), "of", e.Subject(), string(e.Data()))
		return nil, http.StatusOK, ""
	}

	b, err := broker.Open(broker.Config{
		DataDir:     filepath.Join(dir, "log"),
		BrokerFile:  filepath.Join(dir, "broker.yaml"),
		TriggerDirs: []string{filepath.Join(dir, "triggers")},
		Function:    func(service string) (broker.Function, bool) { return printer, service == "printer" },
	})
	if err != nil {
		log.Fatal(err)
	}
	go b.Serve() // ends with Drain

	req, err := http.NewRequest(http.MethodPost, b.URL(), strings.NewReader(`{"stake":100,"win":0}`))
	if err != nil {
		log.Fatal(err)
	}
	for name, value := range map[string]string{"Ce-Specversion": "1.0", "Ce-Type": "pitboss.round.settled.v1", "Ce-Source": "/platform",
		"Ce-Id": "1", "Ce-Subject": "alice", "Content-Type": "application/json"} {
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		log.Fatal(err)
	}
	resp.Body.Close()
	fmt.Println(resp.Status)

	ctx := context.Background()
	if err := b.Quiet(ctx); err != nil { // until everything is delivered
		log.Fatal(err)
	}
	if err := b.Drain(ctx); err != nil {
		log.Fatal(err)
	}
	// Unordered output:
	// 202 Accepted
	// pitboss.round.settled.v1 of alice {"stake":100,"win":0}
}
