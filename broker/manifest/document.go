package manifest

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// document is one YAML document of a file.
type document struct {
	apiVersion, kind, name string
	text                   []byte
}

// documents reads the documents of a file.
func documents(file string) ([]document, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	return split(file, raw)
}

// split cuts raw at its --- lines and reads each document's type and name.
// Documents of nothing but comments are left out.
func split(file string, raw []byte) ([]document, error) {
	var out []document
	for _, text := range bytes.Split(append([]byte("\n"), raw...), []byte("\n---")) {
		var head struct {
			metav1.TypeMeta   `json:",inline"`
			metav1.ObjectMeta `json:"metadata"`
		}
		if err := yaml.Unmarshal(text, &head); err != nil {
			return nil, &Problem{File: file, Detail: cleanYAML(err), Remedy: "not YAML, or not a Kubernetes object"}
		}
		if head.Kind == "" && len(bytes.TrimSpace(stripComments(text))) == 0 {
			continue
		}
		out = append(out, document{apiVersion: head.APIVersion, kind: head.Kind, name: head.Name, text: text})
	}
	return out, nil
}

var comment = regexp.MustCompile(`(?m)^\s*#.*$`)

func stripComments(text []byte) []byte { return comment.ReplaceAll(text, nil) }

var unknownField = regexp.MustCompile(`(?:unknown field|field) "([^"]+)"`)

// fieldOf finds the field a strict decoding error names, "" if none.
func fieldOf(err error) string {
	if m := unknownField.FindStringSubmatch(err.Error()); m != nil {
		return m[1]
	}
	return ""
}

// cleanYAML drops the layers of prefixes that the YAML packages put before
// what is wrong.
func cleanYAML(err error) string {
	s := err.Error()
	for _, prefix := range []string{"error unmarshaling JSON: ", "error converting YAML to JSON: ", "while decoding JSON: ", "yaml: unmarshal errors:\n  ", "yaml: ", "json: "} {
		s = strings.TrimPrefix(s, prefix)
	}
	return s
}
