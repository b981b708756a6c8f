package manifest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rickb777/date/period"
	eventingduckv1 "knative.dev/eventing/pkg/apis/duck/v1"
	duckv1 "knative.dev/pkg/apis/duck/v1"
	"sigs.k8s.io/yaml"

	"pitboss/internal/event"

	"pitboss/broker/spec"
)

// Lint checks the manifests of the repository at root more strictly than a cluster
// does: every name must refer to something, every Broker and Trigger that sets its
// delivery needs a dead-letter sink, and replies must not form a cycle. The error
// is a [Problems], each with file, field and remedy.
func Lint(root string) error {
	var ps Problems
	add := func(file string, err error) {
		if err != nil {
			ps = append(ps, spec.AsProblems(file, err)...)
		}
	}
	brokerFile := filepath.Join(root, "broker", "base", "broker.yaml")
	b, err := Broker(brokerFile)
	add(brokerFile, err)
	funcs, err := Funcs(root)
	add(filepath.Join(root, "functions"), err)
	known := functions(root)
	for _, f := range funcs {
		ps = append(ps, f.check(known)...)
	}
	add(filepath.Join(root, "func.yaml"), lintRoot(root))
	var services []string
	for _, name := range known { // includes functions whose func.yaml is unreadable, which is reported above
		services = append(services, "pitboss-"+name)
	}
	name := "pitboss"
	if b != nil {
		name = b.Name
		ps = append(ps, lintDelivery(brokerFile, b.Spec.Delivery, services)...)
	}
	triggers, err := Triggers(name, filepath.Join(root, "triggers"))
	add(filepath.Join(root, "triggers"), err)
	for _, t := range triggers {
		ps = append(ps, lintTrigger(t, services)...)
	}
	ps = append(ps, lintTwice(triggers)...)
	add(filepath.Join(root, "triggers"), lintListed(filepath.Join(root, "triggers")).Err())
	ps = append(ps, lintCycles(triggers, funcs)...)
	ps = append(ps, lintFiles(root)...)
	return ps.Err()
}

// functions lists the folders of functions/ that hold a function.
func functions(root string) []string {
	files, _ := filepath.Glob(filepath.Join(root, "functions", "*", "function.go"))
	var out []string
	for _, f := range files {
		out = append(out, filepath.Base(filepath.Dir(f)))
	}
	return out
}

func lintRoot(root string) error {
	file := filepath.Join(root, "func.yaml")
	f, err := readFunc(file)
	if err != nil {
		return err
	}
	if f.Created == "" {
		return &Problem{File: file, Where: "created", Detail: "is missing", Remedy: createdRemedy}
	}
	if _, ok := f.env("FUNCTION_TARGET"); ok {
		return &Problem{File: file, Where: "run.envs.FUNCTION_TARGET", Detail: "the root is only built, so it names no function", Remedy: "set it in functions/<name>/func.yaml"}
	}
	return nil
}

// deadLetters is the console's path for dead letters.
const deadLetters = "/deadletters"

// lintDelivery requires a dead-letter sink, without which an undeliverable event is
// lost, and a backoff of at least 0.1 s, because Knative does not wait for less.
func lintDelivery(file string, d *eventingduckv1.DeliverySpec, services []string) Problems {
	const field = "spec.delivery.deadLetterSink"
	if d == nil || d.DeadLetterSink == nil {
		return Problems{{File: file, Where: field, Detail: "is missing: an event that cannot be delivered would be lost",
			Remedy: "deadLetterSink: {ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: pitboss-console}, uri: " + deadLetters + "}"}}
	}
	ps := lintDestination(file, field, *d.DeadLetterSink, services)
	if to := d.DeadLetterSink; to.Ref != nil && to.Ref.Name == "pitboss-console" && (to.URI == nil || to.URI.Path != deadLetters) {
		ps = append(ps, &Problem{File: file, Where: field + ".uri", Detail: "the console keeps dead letters under another path", Remedy: "uri: " + deadLetters})
	}
	if d.Retry == nil || *d.Retry == 0 {
		ps = append(ps, &Problem{File: file, Where: "spec.delivery.retry", Detail: "is missing: a restart would make dead letters", Remedy: "retry: 10"})
	}
	if d.BackoffDelay != nil {
		if p, err := period.Parse(*d.BackoffDelay); err == nil && p.DurationApprox() < 100*time.Millisecond {
			ps = append(ps, &Problem{File: file, Where: "spec.delivery.backoffDelay", Detail: *d.BackoffDelay + " is below PT0.1S, and Knative does not wait for less than that", Remedy: "backoffDelay: PT0.2S"})
		}
	}
	return ps
}

// RetryTime returns the total time of a delivery's retries. Exponential backoff waits
// delay × 2^n. Knative's own dispatcher (in-memory) and the one-machine Broker begin at
// n = 0. Kafka's Broker and RabbitMQ's, whose dispatcher uses the CloudEvents SDK's
// retries, begin at n = 1. Linear backoff waits delay × n.
func RetryTime(d *eventingduckv1.DeliverySpec) (knative, durable time.Duration) {
	if d == nil || d.Retry == nil || d.BackoffDelay == nil {
		return 0, 0
	}
	p, err := period.Parse(*d.BackoffDelay)
	if err != nil {
		return 0, 0
	}
	delay, n := p.DurationApprox(), int(*d.Retry)
	if d.BackoffPolicy != nil && *d.BackoffPolicy == eventingduckv1.BackoffPolicyLinear {
		return delay * time.Duration(n*(n-1)/2), delay * time.Duration(n*(n+1)/2)
	}
	knative = delay * time.Duration(1<<min(n, 30)-1)
	return knative, 2 * knative
}

// attributeNames lists the attributes that an event of Pitboss can have.
var attributeNames = []string{
	"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema",
	event.ExtPartitionKey, event.ExtTraceparent, event.ExtTracestate, event.ExtReceived, "knativearrivaltime",
	event.ExtAction, event.ExtKind, event.ExtJurisdiction, event.ExtBrand, event.ExtChannel, event.ExtSeverity, event.ExtArm, event.ExtExpiry, event.ExtReview,
}

// anywayAnnotation on a Trigger gives the reason why a Broker may ignore its
// spec.filters: the function handles the events that the filter would have kept
// out, which costs one call each.
const anywayAnnotation = "pitboss/filters-may-be-ignored"

// orderAnnotation sets the delivery order of Kafka's Broker per partition.
const orderAnnotation = "kafka.eventing.knative.dev/delivery.order"

func lintTrigger(t Trigger, services []string) Problems {
	ps := lintDelivery(t.File, t.Spec.Delivery, services)
	if t.Annotations[orderAnnotation] == "ordered" {
		ps = append(ps, &Problem{File: t.File, Where: "metadata.annotations." + orderAnnotation,
			Detail: "an event would wait for the retries of the one before it, and Kafka's Broker would deliver at most 250 events/s",
			Remedy: "take it away: no function of Pitboss needs order"})
	}
	sets, ok := exacts(t.Trigger)
	if !ok && len(t.Spec.Filters) > 0 && t.Annotations[anywayAnnotation] == "" {
		ps = append(ps, &Problem{File: t.File, Where: "spec.filters", Detail: "the RabbitMQ Broker ignores it and would deliver everything",
			Remedy: "use one any that holds only exact, which make generate splits for that Broker, or give in the annotation " + anywayAnnotation + " the reason why the function may get everything"})
	}
	for _, set := range sets {
		for name, value := range set.attributes {
			ps = append(ps, lintAttribute(t.File, set.field, name, value)...)
		}
	}
	return append(ps, lintDestination(t.File, "spec.subscriber", t.Spec.Subscriber, services)...)
}

func lintAttribute(file, field, name, value string) Problems {
	field += "." + name
	if !slices.Contains(attributeNames, name) {
		return Problems{{File: file, Where: field, Detail: "no event has this attribute, so nothing would match", Remedy: "docs/events.md has the attributes" + spec.Nearest(name, attributeNames)}}
	}
	if _, ok := event.Lookup(value); name == "type" && !ok && value != "" {
		var types []string
		for _, i := range event.Types() {
			types = append(types, i.Type)
		}
		return Problems{{File: file, Where: field, Detail: fmt.Sprintf("%q is not in the event catalogue, so nothing would match", value), Remedy: "docs/events.md has the catalogue" + spec.Nearest(value, types)}}
	}
	return nil
}

func lintDestination(file, field string, d duckv1.Destination, services []string) Problems {
	if d.Ref == nil || d.Ref.Kind != "Service" || slices.Contains(services, d.Ref.Name) {
		return nil
	}
	return Problems{{File: file, Where: field + ".ref.name", Detail: fmt.Sprintf("no func.yaml deploys a Service %q", d.Ref.Name), Remedy: "one of " + strings.Join(services, ", ") + spec.Nearest(d.Ref.Name, services)}}
}

// lintTwice refuses a second Trigger that delivers the same events to a function.
func lintTwice(triggers []Trigger) Problems {
	var ps Problems
	seen := map[string]string{}
	for _, t := range triggers {
		sets, ok := exacts(t.Trigger)
		if !ok {
			sets = []exact{{field: "spec.filters"}}
		}
		for _, set := range sets {
			of := []any{set.attributes, t.Spec.Subscriber}
			if !ok {
				of = append(of, t.Spec.Filters)
			}
			text, err := yaml.Marshal(of)
			if other, twice := seen[string(text)]; twice && err == nil {
				ps = append(ps, &Problem{File: t.File, Where: set.field, Detail: "filter and subscriber are the same as in " + other + ": each event would be delivered twice", Remedy: "keep one of the two"})
			}
			seen[string(text)] = t.File
		}
	}
	return ps
}

// lintListed requires the kustomization to list every Trigger's file. The
// one-machine Broker reads a file that is not listed, but a cluster does not get it.
func lintListed(dir string) Problems {
	file := filepath.Join(dir, "kustomization.yaml")
	raw, err := os.ReadFile(file)
	if err != nil {
		return spec.AsProblems(file, err)
	}
	var k kustomization
	if err := yaml.UnmarshalStrict(raw, &k); err != nil {
		return Problems{spec.Undecodable(file, raw, &k, err, seeReference)}
	}
	files, err := spec.YAMLFiles(dir)
	if err != nil {
		return spec.AsProblems(file, err)
	}
	var ps Problems
	for _, f := range files {
		if name := filepath.Base(f); !slices.Contains(k.Resources, name) {
			ps = append(ps, &Problem{File: file, Where: "resources", Detail: name + " is not in the list: a cluster would not get that Trigger", Remedy: "add - " + name})
		}
	}
	return ps
}

// lintFiles checks every manifest under broker/ and docs/ with [CheckFile].
func lintFiles(root string) Problems {
	var ps Problems
	for _, dir := range []string{"broker", "docs"} {
		_ = filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() && d.Name() == "testdata" {
				return skip(err)
			}
			if filepath.Ext(path) == ".yaml" {
				ps = append(ps, CheckFile(path)...)
			}
			return nil
		})
	}
	return ps
}

func skip(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return fs.SkipDir
}
