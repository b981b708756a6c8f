package policy

import (
	"fmt"

	"github.com/go-json-experiment/json"
)

// document holds the texts of a policy's files and the names of its features.
type document struct {
	Features []string          `json:"features"`
	Files    map[string]string `json:"files"`
}

// Document is everything the policy was compiled from, as JSON, to be kept
// under [Policy.Hash].
func (p *Policy) Document() ([]byte, error) {
	d := document{Features: p.lang.featureNames, Files: map[string]string{}}
	for name, b := range p.files {
		d.Files[name] = string(b)
	}
	out, err := json.Marshal(d, json.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("policy: document: %w", err)
	}
	return out, nil
}

// ParseDocument compiles the policy of a document. A policy from before markers.yaml
// existed decides as it did then.
func ParseDocument(b []byte) (*Policy, error) {
	d, err := readDocument(b)
	if err != nil {
		return nil, err
	}
	files := d.texts()
	_, has := files[markersName]
	return decodeFiles(files, !has).Compile(d.Features)
}

// DocumentFiles returns the texts of a document by name (rules/GB.yaml), unchecked:
// this release might refuse them.
func DocumentFiles(b []byte) (map[string][]byte, error) {
	d, err := readDocument(b)
	return d.texts(), err
}

func (d *document) texts() map[string][]byte {
	out := make(map[string][]byte, len(d.Files))
	for name, text := range d.Files {
		out[name] = []byte(text)
	}
	return out
}

// DocumentFeatures returns the features, in order, of a document's policy.
func DocumentFeatures(b []byte) ([]string, error) {
	d, err := readDocument(b)
	return d.Features, err
}

func readDocument(b []byte) (d document, err error) {
	if err := json.Unmarshal(b, &d); err != nil {
		return d, fmt.Errorf("policy: document: %w", err)
	}
	return d, nil
}
