package event_test

import (
	"bytes"
	"compress/gzip"
	"os"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"pitboss/internal/event"
)

// The document is held against AsyncAPI's own JSON Schema, every reference in it
// leads somewhere, and every type of the catalogue is in it.
func TestAsyncAPIIsValid(t *testing.T) {
	t.Parallel()
	raw, err := json.Marshal(event.AsyncAPI(), json.Deterministic(true))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	schema := asyncAPISchema(t)
	if err := schema.Validate(doc); err != nil {
		t.Fatal(err)
	}
	checkReferences(t, doc, doc)
	for _, i := range event.Types() {
		channel := at(doc, "channels/"+i.Type)
		if channel == nil || at(doc, "components/messages/"+i.Type+"/payload/schema/type") != "object" {
			t.Errorf("%s is missing", i.Type)
		}
		receives, sends := at(doc, "operations/receive."+i.Type) != nil, at(doc, "operations/send."+i.Type) != nil
		if receives != (i.Direction != event.Out) || sends != (i.Direction != event.In) {
			t.Errorf("%s (%s): receives %v, sends %v", i.Type, i.Direction, receives, sends)
		}
	}
	// A document that is wrong is found to be.
	doc.(map[string]any)["channels"].(map[string]any)[event.TypeExcluded].(map[string]any)["messages"] = "none"
	if schema.Validate(doc) == nil {
		t.Error("a wrong document is valid")
	}
}

func asyncAPISchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	f, err := os.Open("testdata/asyncapi-3.0.0.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	unzipped, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(unzipped)
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	const address = "http://asyncapi.com/definitions/3.0.0/asyncapi.json"
	if err := c.AddResource(address, doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile(address)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func checkReferences(t *testing.T, doc, node any) {
	t.Helper()
	switch node := node.(type) {
	case map[string]any:
		if to, ok := node["$ref"].(string); ok && at(doc, strings.TrimPrefix(to, "#/")) == nil {
			t.Errorf("%s leads nowhere", to)
		}
		for _, child := range node {
			checkReferences(t, doc, child)
		}
	case []any:
		for _, child := range node {
			checkReferences(t, doc, child)
		}
	}
}

func at(doc any, path string) any {
	for _, name := range strings.Split(path, "/") {
		members, _ := doc.(map[string]any)
		doc = members[name]
	}
	return doc
}
