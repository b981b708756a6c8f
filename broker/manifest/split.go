package manifest

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	"sigs.k8s.io/yaml"

	"pitboss/broker/spec"
)

// exact is a set of attribute values that lets an event through a Trigger.
type exact struct {
	field      string // its path in the manifest
	attributes map[string]string
}

// exacts returns the sets of attribute values, any one of which passes the Trigger:
// the set of spec.filter, or the sets of spec.filters if that is a single "any" that
// holds only "exact". ok is false for any other filter, and without a filter.
func exacts(t *eventingv1.Trigger) (out []exact, ok bool) {
	if len(t.Spec.Filters) == 0 {
		if t.Spec.Filter == nil || len(t.Spec.Filter.Attributes) == 0 {
			return nil, false
		}
		return []exact{{"spec.filter.attributes", t.Spec.Filter.Attributes}}, true
	}
	anyOf := t.Spec.Filters[0].Any
	if len(t.Spec.Filters) != 1 || len(anyOf) == 0 || t.Spec.Filter != nil && len(t.Spec.Filter.Attributes) > 0 {
		return nil, false
	}
	for i, f := range anyOf {
		if len(f.Exact) == 0 {
			return nil, false
		}
		out = append(out, exact{fmt.Sprintf("spec.filters[0].any[%d].exact", i), f.Exact})
	}
	return out, true
}

// exactTriggers renders the Triggers of triggers/ for a Broker class that supports
// only spec.filter: one Trigger for each set of values.
func exactTriggers(root string) ([]byte, error) {
	files, err := spec.YAMLFiles(filepath.Join(root, "triggers"))
	if err != nil {
		return nil, err
	}
	out := []byte(generated)
	for _, file := range files {
		docs, err := spec.Documents(file)
		if err != nil {
			return nil, err
		}
		for _, doc := range docs {
			var t eventingv1.Trigger // without the defaults that the webhook would set
			if err := yaml.UnmarshalStrict(doc.Text, &t); err != nil {
				return nil, spec.Undecodable(file, doc.Text, &t, err, seeReference)
			}
			for _, one := range split(&t) {
				if err := appendObject(&out, one); err != nil {
					return nil, err
				}
			}
		}
	}
	return out, nil
}

// split returns one Trigger for each set of values of t. A Trigger without sets, or
// with spec.filter only, stays as it is.
func split(t *eventingv1.Trigger) []*eventingv1.Trigger {
	sets, ok := exacts(t)
	if !ok || len(t.Spec.Filters) == 0 {
		return []*eventingv1.Trigger{t}
	}
	var out []*eventingv1.Trigger
	for _, set := range sets {
		one := t.DeepCopy()
		one.Name += "-" + nameOf(set.attributes)
		one.Spec.Filter, one.Spec.Filters = &eventingv1.TriggerFilter{Attributes: set.attributes}, nil
		out = append(out, one)
	}
	return out
}

// nameOf makes a Kubernetes name of the attributes' values:
// recommendation-issued-arm-explore.
func nameOf(attributes map[string]string) string {
	words := []string{strings.ReplaceAll(strings.TrimSuffix(strings.TrimPrefix(attributes["type"], "pitboss."), ".v1"), ".", "-")}
	for _, name := range slices.Sorted(maps.Keys(attributes)) {
		if name != "type" {
			words = append(words, name, attributes[name])
		}
	}
	return strings.ToLower(strings.Join(words, "-"))
}
