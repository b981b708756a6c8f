// Package strictyaml reads configuration files strictly: an unknown or repeated field is a
// mistake, and every mistake is reported with its line.
package strictyaml

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Error is a mistake in a file.
type Error struct {
	Line   int // 0: unknown
	Detail string
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return e.Detail
	}
	return fmt.Sprintf("line %d: %s", e.Line, e.Detail)
}

// Decode reads one document. The error is an [*Error] with the first mistake. An empty file
// is not a mistake.
func Decode(src []byte, into any) (err error) {
	defer func() { // a panic in the third-party parser means a bad file
		if r := recover(); r != nil {
			err = &Error{Detail: fmt.Sprintf("not readable as YAML: %v", r)}
		}
	}()
	d := yaml.NewDecoder(bytes.NewReader(src))
	d.KnownFields(true)
	switch err := d.Decode(into); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return mistake(err)
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return &Error{Detail: "holds more than one document"}
	}
	return nil
}

// mistake turns a parser's error into an Error with its line.
func mistake(err error) *Error {
	text := err.Error()
	var list *yaml.TypeError
	if errors.As(err, &list) {
		text = list.Errors[0]
	}
	text = strings.TrimPrefix(text, "yaml: ")
	out := &Error{Detail: text}
	if rest, ok := strings.CutPrefix(text, "line "); ok {
		if n, detail, ok := strings.Cut(rest, ": "); ok {
			if line, err := strconv.Atoi(n); err == nil {
				out.Line, out.Detail = line, detail
			}
		}
	}
	if i := strings.Index(out.Detail, " not found in type "); i > 0 && strings.HasPrefix(out.Detail, "field ") {
		out.Detail = "unknown " + out.Detail[:i] // drops the name of the Go type
	}
	return out
}

// At returns an error at a node, for UnmarshalYAML methods.
func At(n *yaml.Node, format string, args ...any) error {
	return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: ", n.Line) + fmt.Sprintf(format, args...)}}
}

// Text reads a scalar through UnmarshalText and adds the line to its error.
func Text(n *yaml.Node, into encoding.TextUnmarshaler) error {
	if n.Kind != yaml.ScalarNode {
		return At(n, "want one value, not a list or a map")
	}
	if err := into.UnmarshalText([]byte(n.Value)); err != nil {
		return At(n, "%v", err)
	}
	return nil
}

// Fields refuses a map with keys other than names. Decode does so by itself, except below an
// UnmarshalYAML method.
func Fields(n *yaml.Node, names ...string) error {
	if n.Kind != yaml.MappingNode {
		return At(n, "want a map of %s", strings.Join(names, ", "))
	}
	for i := 0; i < len(n.Content); i += 2 {
		if k := n.Content[i]; !slices.Contains(names, k.Value) {
			return At(k, "unknown field %s", k.Value)
		}
	}
	return nil
}

// Line returns the line of the first of paths, such as $.features[3].where, that exists in
// src, or 0 if none does.
func Line(src []byte, paths ...string) int {
	var doc yaml.Node
	if err := yaml.Unmarshal(src, &doc); err != nil || len(doc.Content) == 0 {
		return 0
	}
	for _, path := range paths {
		if line := find(doc.Content[0], path); line > 0 {
			return line
		}
	}
	return 0
}

// find follows a path and returns the line of its key or list entry.
func find(n *yaml.Node, path string) int {
	line := n.Line
	path = strings.NewReplacer("[", ".[", "]", "").Replace(strings.TrimPrefix(path, "$"))
	for _, step := range strings.Split(path, ".") {
		if step == "" {
			continue
		}
		if n.Kind == yaml.AliasNode {
			n = n.Alias
		}
		next := (*yaml.Node)(nil)
		if index, ok := strings.CutPrefix(step, "["); ok {
			if i, err := strconv.Atoi(index); err == nil && n.Kind == yaml.SequenceNode && i < len(n.Content) {
				next = n.Content[i]
				line = next.Line
			}
		} else if n.Kind == yaml.MappingNode {
			for i := 0; i < len(n.Content); i += 2 {
				if n.Content[i].Value == step {
					line, next = n.Content[i].Line, n.Content[i+1]
				}
			}
		}
		if next == nil {
			return 0
		}
		n = next
	}
	return line
}
