package feature_test

import (
	"slices"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"pitboss/internal/feature"
)

// The schemas that editors use accept what the program accepts.
func TestSchemasDescribeTheFiles(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ schema, file, text string }{
		{"features", "../../models/features.yaml", ""},
		{"labels", "../../models/labels.yaml", ""},
		{"features", "", exact},
	} {
		if err := validate(t, tc.schema, tc.file, tc.text); err != nil {
			t.Errorf("%s%s: %v", tc.file, tc.text, err)
		}
	}
	for _, bad := range []string{
		"version: 1\nfeatures: [{name: a, on: [round.settled]}]",                                           // no agg
		"version: 1\nfeatures: [{name: a, on: [round.settled], agg: sum}]",                                 // no value
		"version: 1\nfeatures: [{name: a, on: [round.settled], agg: count, horizon: {decay: {half: 1m}}}]", // unknown member
		"version: 1\nfeatures: [{name: a, expr: b, agg: count, on: [round.settled]}]",                      // both
		"version: 2\nfeatures: [{name: a, on: [round.settled], agg: count}]",
	} {
		if validate(t, "features", "", bad) == nil {
			t.Errorf("the schema accepts %s", bad)
		}
	}
}

func validate(t *testing.T, schema, file, text string) error {
	t.Helper()
	s, err := jsonschema.NewCompiler().Compile("../../models/" + schema + ".schema.json")
	if err != nil {
		t.Fatal(err)
	}
	if file != "" {
		text = readFile(t, file)
	}
	var doc any
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	return s.Validate(plain(doc))
}

// plain turns YAML's integers into those JSON Schema knows.
func plain(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			v[k] = plain(x)
		}
	case []any:
		for i, x := range v {
			v[i] = plain(x)
		}
	case uint64:
		return float64(v)
	}
	return v
}

// Names reads from the file what the compiled set has.
func TestNames(t *testing.T) {
	t.Parallel()
	const file = "../../models/features.yaml"
	set, err := feature.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	names, err := feature.Names(file)
	if err != nil || !slices.Equal(names, set.Names()) {
		t.Errorf("%v, %v; the set has %v", names, err, set.Names())
	}
}
