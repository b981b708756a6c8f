package manifest

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/go-json-experiment/json"
	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"

	"pitboss/broker/spec"
)

// The one-machine Broker reads manifests with types of its own, tools and clusters
// with Knative's. They are held against each other at random: what one takes the
// other takes, and both read the same.

// some draws one of several values, or leaves a field out.
func some(t *rapid.T, in map[string]any, field string, values ...any) {
	if n := rapid.IntRange(-1, len(values)-1).Draw(t, field); n >= 0 {
		in[field] = values[n]
	}
}

func drawAttributes(t *rapid.T, label string) map[string]any {
	out := map[string]any{}
	for range rapid.IntRange(0, 2).Draw(t, label) {
		name := rapid.SampledFrom([]string{"type", "source", "brand", "a1", "Type", "with-dash", "1a", ""}).Draw(t, "attribute")
		out[name] = rapid.SampledFrom([]any{"pitboss.round.settled.v1", "", "a b", 7, true}).Draw(t, "value")
	}
	return out
}

func drawFilter(t *rapid.T, depth int) map[string]any {
	out := map[string]any{}
	for range rapid.IntRange(0, 2).Draw(t, "dialects") {
		switch kind := rapid.SampledFrom([]string{"exact", "prefix", "suffix", "cesql", "not", "all", "any", "exactly"}).Draw(t, "dialect"); {
		case kind == "cesql":
			out[kind] = rapid.SampledFrom([]any{"type = 'a'", "type LIKE 'a%'", "type =", "", "foo(1)", 7}).Draw(t, "expression")
		case kind == "not" && depth > 0:
			out[kind] = drawFilter(t, depth-1)
		case (kind == "all" || kind == "any") && depth > 0:
			list := []any{}
			for range rapid.IntRange(0, 2).Draw(t, kind) {
				list = append(list, drawFilter(t, depth-1))
			}
			out[kind] = list
		default:
			out[kind] = drawAttributes(t, kind)
		}
	}
	return out
}

func drawDestination(t *rapid.T) map[string]any {
	out := map[string]any{}
	if rapid.IntRange(0, 3).Draw(t, "by reference") > 0 {
		ref := map[string]any{}
		some(t, ref, "apiVersion", "serving.knative.dev/v1", "serving.knative.dev/v1", "v1", "")
		some(t, ref, "kind", "Service", "Service", "Deployment", "")
		some(t, ref, "name", "pitboss-profile", "pitboss-profile", "a b", "")
		some(t, ref, "namespace", "default", "other", "")
		out["ref"] = ref
	}
	some(t, out, "uri", "http://127.0.0.1:1/a", "/deadletters", "mailto:a@b", "", "%zz", "//host/a", 7)
	some(t, out, "url", "http://127.0.0.1:1")
	return out
}

func drawDelivery(t *rapid.T) map[string]any {
	out := map[string]any{}
	some(t, out, "retry", 0, 3, 10, -1, 2.5, "3", 1<<40)
	some(t, out, "backoffPolicy", "linear", "exponential", "Linear", "")
	some(t, out, "backoffDelay", "PT0.2S", "PT1M", "P1D", "1s", "", "PT-1S", "P1Y2M", 7)
	if rapid.IntRange(0, 7).Draw(t, "with a format") == 0 {
		some(t, out, "format", "json", "binary", "xml", "")
	}
	if rapid.IntRange(0, 15).Draw(t, "with a feature") == 0 {
		some(t, out, "timeout", "PT1S", "")
		some(t, out, "retryAfterMax", "PT1S", "")
	}
	if rapid.Bool().Draw(t, "with a sink") {
		out["deadLetterSink"] = drawDestination(t)
	}
	return out
}

func drawObject(t *rapid.T, kind string) map[string]any {
	meta, spec := map[string]any{"name": "one"}, map[string]any{}
	rarely := func(what string) bool { return rapid.IntRange(0, 19).Draw(t, what) == 0 }
	if rarely("other names") {
		some(t, meta, "name", "", "Upper", "a.b", "a b", 7)
	}
	if rarely("a namespace") {
		some(t, meta, "namespace", "default", "other", "")
	}
	if rarely("annotations") {
		some(t, meta, "annotations", map[string]any{"a/b": "c"}, map[string]any{"a": 7}, []any{})
	}
	out := map[string]any{"apiVersion": "eventing.knative.dev/v1", "kind": kind, "metadata": meta, "spec": spec}
	if rarely("another version") {
		some(t, out, "apiVersion", "eventing.knative.dev/v1beta1", "v1", "")
	}
	if rarely("unknown") {
		some(t, spec, "filtre", "x")
		some(t, out, "specs", "x")
	}
	if rapid.Bool().Draw(t, "with a delivery") {
		spec["delivery"] = drawDelivery(t)
	}
	if kind == "Trigger" {
		spec["broker"] = "pitboss"
		if rarely("another Broker") {
			some(t, spec, "broker", "", "other")
		}
		spec["subscriber"] = drawDestination(t)
		if rapid.Bool().Draw(t, "with a filter") {
			spec["filter"] = map[string]any{"attributes": drawAttributes(t, "filter")}
		}
		if rapid.Bool().Draw(t, "with filters") {
			list := []any{}
			for range rapid.IntRange(0, 2).Draw(t, "filters") {
				list = append(list, drawFilter(t, 2))
			}
			spec["filters"] = list
		}
	}
	return out
}

// reads reports whether a Broker or Trigger is taken, and what is read: the spec
// as generic JSON, without what is empty.
func reads(t *rapid.T, v any, err error) (any, bool) {
	if err != nil {
		return nil, false
	}
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var generic map[string]any
	if err := json.Unmarshal(text, &generic); err != nil {
		t.Fatal(err)
	}
	spec, ok := bare(generic["spec"]).(map[string]any)
	if !ok {
		spec = map[string]any{}
	}
	return spec, true
}

// bare leaves out what is empty, and the namespace, which Knative sets by default.
func bare(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			x = bare(x)
			v[k] = x
			switch y := x.(type) {
			case map[string]any:
				if len(y) == 0 {
					delete(v, k)
				}
			case []any:
				if len(y) == 0 {
					delete(v, k)
				}
			case nil:
				delete(v, k)
			}
			if ref := k == "namespace"; ref || k == "config" {
				delete(v, k)
			}
		}
	case []any:
		for i := range v {
			v[i] = bare(v[i])
		}
	}
	return v
}

func TestSpecAndKnativeReadManifestsAlike(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "one.yaml")
	taken, refused := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.SampledFrom([]string{"Broker", "Trigger", "Trigger", "Trigger"}).Draw(t, "kind")
		text, err := yaml.Marshal(drawObject(t, kind))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		var ours, theirs any
		var weTake, theyTake bool
		var errWe, errThey error
		if kind == "Broker" {
			b, err := spec.ReadBroker(file)
			k, errK := Broker(file)
			errWe, errThey = err, errK
			ours, weTake = reads(t, b, err)
			theirs, theyTake = reads(t, k, errK)
		} else {
			b, err := spec.ReadTriggers("pitboss", dir)
			k, errK := Triggers("pitboss", dir)
			errWe, errThey = err, errK
			if err == nil {
				ours, weTake = reads(t, b[0], nil)
			}
			if errK == nil {
				theirs, theyTake = reads(t, k[0].Trigger, nil)
			}
		}
		if weTake != theyTake {
			t.Fatalf("the one-machine Broker: %v\nKnative: %v\n%s", errWe, errThey, text)
		}
		if !weTake {
			refused++
			return
		}
		taken++
		if !reflect.DeepEqual(ours, theirs) {
			t.Fatalf("the one-machine Broker reads %v\nKnative %v\n%s", ours, theirs, text)
		}
	})
	if !t.Failed() && (taken == 0 || refused == 0) {
		t.Errorf("%d taken, %d refused: nothing was proved of one", taken, refused)
	}
}
