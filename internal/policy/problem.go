package policy

import (
	"fmt"

	"pitboss/internal/strictyaml"
)

// source is a policy file, which finds the line of a problem in it.
type source struct {
	file string
	text []byte
}

func newSource(file string, text []byte) *source { return &source{file, text} }

func (s *source) problem(path, what, remedy, format string, args ...any) *strictyaml.Problem {
	return &strictyaml.Problem{File: s.file, Line: strictyaml.Line(s.text, path), Where: what, Remedy: remedy, Detail: fmt.Sprintf(format, args...)}
}

// decodeYAML reads a file strictly: an unknown or repeated field is a mistake.
func decodeYAML(s *source, into any) *strictyaml.Problem {
	err := strictyaml.Decode(s.text, into)
	if err == nil {
		return nil
	}
	p := strictyaml.AsProblems(s.file, err)[0]
	p.Remedy = "docs/rules.md lists the fields"
	return p
}
