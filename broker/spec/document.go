package spec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// Document is one YAML document of a file.
type Document struct {
	APIVersion, Kind, Name string
	Text                   []byte
}

// Documents reads the documents of a file.
func Documents(file string) ([]Document, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	return Split(file, raw)
}

// BrokerIn returns the one Broker that file holds, among other documents.
func BrokerIn(file string) (Document, error) {
	docs, err := Documents(file)
	if err != nil {
		return Document{}, err
	}
	docs = slices.DeleteFunc(docs, func(d Document) bool { return d.Kind != "Broker" })
	switch len(docs) {
	case 0:
		return Document{}, &Problem{File: file, Where: "kind", Detail: "no Broker in this file", Remedy: "want kind: Broker, apiVersion: " + Version}
	case 1:
		return docs[0], nil
	}
	return Document{}, &Problem{File: file, Where: "kind", Detail: "a second Broker", Remedy: "one Broker per file"}
}

// EachTrigger calls read with every *.yaml file of dirs except kustomization.yaml. Each
// file must hold one Trigger, with a name of its own. The error has the problems of all
// files, including those that read returns.
func EachTrigger(dirs []string, read func(file string, doc Document) error) error {
	var bad Problems
	byName := map[string]string{}
	for _, dir := range dirs {
		files, err := YAMLFiles(dir)
		if err != nil {
			return err
		}
		for _, file := range files {
			doc, err := triggerIn(file)
			if other, ok := byName[doc.Name]; ok {
				err = &Problem{File: file, Where: "metadata.name", Detail: fmt.Sprintf("%q is also the name of the Trigger in %s", doc.Name, other), Remedy: "give each Trigger its own name"}
			}
			if err == nil {
				err = read(file, doc)
			}
			if err != nil {
				bad = append(bad, AsProblems(file, err)...)
				continue
			}
			byName[doc.Name] = file
		}
	}
	return bad.Err()
}

func triggerIn(file string) (Document, error) {
	docs, err := Documents(file)
	if err != nil {
		return Document{}, err
	}
	if len(docs) != 1 || docs[0].Kind != "Trigger" {
		return Document{}, &Problem{File: file, Where: "kind", Detail: "want exactly one Trigger", Remedy: "one Trigger per file"}
	}
	return docs[0], nil
}

// OtherBroker is the problem of a Trigger that names the Broker is instead of want.
func OtherBroker(file, is, want string) *Problem {
	return &Problem{File: file, Where: "spec.broker", Detail: fmt.Sprintf("is %q, but the Broker is called %q", is, want), Remedy: "spec.broker: " + want}
}

// Split cuts raw at its --- lines and reads each document's type and name.
// It leaves out documents that hold only comments.
func Split(file string, raw []byte) ([]Document, error) {
	var out []Document
	for _, text := range bytes.Split(append([]byte("\n"), raw...), []byte("\n---")) {
		var head struct {
			APIVersion string `json:"apiVersion"`
			Kind       string `json:"kind"`
			Metadata   struct {
				Name string `json:"name"`
			} `json:"metadata"`
		}
		if err := yaml.Unmarshal(text, &head); err != nil {
			return nil, &Problem{File: file, Detail: cleanYAML(err), Remedy: "not YAML, or not a Kubernetes object"}
		}
		if head.Kind == "" && len(bytes.TrimSpace(stripComments(text))) == 0 {
			continue
		}
		out = append(out, Document{APIVersion: head.APIVersion, Kind: head.Kind, Name: head.Metadata.Name, Text: text})
	}
	return out, nil
}

// Unmarshal decodes a document as a cluster's API server does. It refuses an unknown
// or repeated field, and also a number in place of text, which
// [yaml.UnmarshalStrict] would convert.
func Unmarshal(text []byte, into any) error {
	raw, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	return d.Decode(into)
}

var comment = regexp.MustCompile(`(?m)^\s*#.*$`)

func stripComments(text []byte) []byte { return comment.ReplaceAll(text, nil) }

var unknownField = regexp.MustCompile(`(?:unknown field|field) "([^"]+)"`)

// fieldOf returns the field that a strict decoding error names, or "".
func fieldOf(err error) string {
	if m := unknownField.FindStringSubmatch(err.Error()); m != nil {
		return m[1]
	}
	return ""
}

// cleanYAML removes the prefixes that the YAML packages put before the message.
func cleanYAML(err error) string {
	s := err.Error()
	for _, prefix := range []string{"error unmarshaling JSON: ", "error converting YAML to JSON: ", "while decoding JSON: ", "yaml: unmarshal errors:\n  ", "yaml: ", "json: "} {
		s = strings.TrimPrefix(s, prefix)
	}
	return s
}
