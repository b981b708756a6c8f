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

	"pitboss/internal/event"
)

// Lint checks the manifests of the repository at root beyond what a cluster
// would: that names mean something, that nothing is lost without a dead-letter
// sink, and that no event can come back to where it was. The error is a
// [Problems]: each with file, field and remedy.
func Lint(root string) error {
	var ps Problems
	add := func(file string, err error) {
		if err != nil {
			ps = append(ps, problems(file, err)...)
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
	name := "pitboss"
	if b != nil {
		name = b.Name
		ps = append(ps, lintDelivery(brokerFile, b.Spec.Delivery)...)
	}
	triggers, err := Triggers(name, filepath.Join(root, "triggers"))
	add(filepath.Join(root, "triggers"), err)
	for _, t := range triggers {
		ps = append(ps, lintTrigger(t, funcs)...)
	}
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
		return &Problem{File: file, Field: "created", Detail: "is missing", Remedy: "func takes the function for uninitialised without a creation time"}
	}
	return nil
}

// lintDelivery: without a sink an event that cannot be delivered is gone, and
// a backoff under 0.1 s is none at all.
func lintDelivery(file string, d *eventingduckv1.DeliverySpec) Problems {
	var ps Problems
	if d == nil || d.DeadLetterSink == nil {
		return append(ps, &Problem{File: file, Field: "spec.delivery.deadLetterSink", Detail: "is missing: an event that cannot be delivered would be lost", Remedy: "ref to the Service pitboss-console, uri /deadletters"})
	}
	if d.Retry == nil || *d.Retry == 0 {
		ps = append(ps, &Problem{File: file, Field: "spec.delivery.retry", Detail: "is missing: a restart would make dead letters", Remedy: "retry: 10"})
	}
	if d.BackoffDelay != nil {
		if p, err := period.Parse(*d.BackoffDelay); err == nil && p.DurationApprox() < 100*time.Millisecond {
			ps = append(ps, &Problem{File: file, Field: "spec.delivery.backoffDelay", Detail: *d.BackoffDelay + " is under PT0.1S, which Knative takes for no wait at all", Remedy: "backoffDelay: PT0.2S"})
		}
	}
	return ps
}

// attributeNames are the attributes an event of Pitboss can have.
var attributeNames = []string{
	"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema",
	event.ExtPartitionKey, event.ExtTraceparent, event.ExtTracestate, event.ExtReceived, "knativearrivaltime",
	event.ExtAction, event.ExtKind, event.ExtJurisdiction, event.ExtBrand, event.ExtChannel, event.ExtSeverity, event.ExtArm, event.ExtExpiry, event.ExtReview,
}

// anywayAnnotation on a Trigger says why its spec.filters may be ignored: the
// function answers what the filter would have kept away, at the cost of a call.
const anywayAnnotation = "pitboss/filters-may-be-ignored"

func lintTrigger(t Trigger, funcs []*Func) Problems {
	ps := lintDelivery(t.File, t.Spec.Delivery)
	if len(t.Spec.Filters) > 0 && t.Annotations[anywayAnnotation] == "" {
		ps = append(ps, &Problem{File: t.File, Field: "spec.filters", Detail: "the RabbitMQ Broker ignores it and would deliver everything", Remedy: "use spec.filter.attributes, which every Broker class honours, or say with the annotation " + anywayAnnotation + " why the function may get everything"})
	}
	if t.Spec.Filter != nil {
		for name, value := range t.Spec.Filter.Attributes {
			ps = append(ps, lintAttribute(t.File, name, value)...)
		}
	}
	return append(ps, lintSubscriber(t.File, t.Spec.Subscriber, funcs)...)
}

func lintAttribute(file, name, value string) Problems {
	field := "spec.filter.attributes." + name
	if !slices.Contains(attributeNames, name) {
		return Problems{{File: file, Field: field, Detail: "no event has this attribute, so nothing would match", Remedy: "see docs for the attributes" + nearest(name, attributeNames)}}
	}
	if _, ok := event.Lookup(value); name == "type" && !ok && value != "" {
		var types []string
		for _, i := range event.Types() {
			types = append(types, i.Type)
		}
		return Problems{{File: file, Field: field, Detail: fmt.Sprintf("%q is not in the event catalogue, so nothing would match", value), Remedy: "see the catalogue" + nearest(value, types)}}
	}
	return nil
}

func lintSubscriber(file string, d duckv1.Destination, funcs []*Func) Problems {
	if d.Ref == nil || d.Ref.Kind != "Service" {
		return nil
	}
	var names []string
	for _, f := range funcs {
		names = append(names, f.Name)
	}
	if slices.Contains(names, d.Ref.Name) {
		return nil
	}
	return Problems{{File: file, Field: "spec.subscriber.ref.name", Detail: fmt.Sprintf("no func.yaml deploys a Service %q", d.Ref.Name), Remedy: "one of " + strings.Join(names, ", ") + nearest(d.Ref.Name, names)}}
}

// lintFiles reads every other manifest under broker/ and docs/ strictly with
// the types a cluster has for it.
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

// nearest suggests the known word that is fewest edits away, if it is near.
func nearest(word string, known []string) string {
	best, at := len(word)/3+1, ""
	for _, k := range known {
		if d := distance(word, k); d <= best && d > 0 {
			best, at = d, k
		}
	}
	if at == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %s?", at)
}

// distance is the Levenshtein distance, a swap of neighbours counting as one.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
