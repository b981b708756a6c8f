package policy

import (
	"errors"
	"fmt"
	"strings"

	"pitboss/internal/strictyaml"
)

// Problem is a mistake in a policy file: where it is and what to do about it.
type Problem struct {
	File   string
	Line   int    // 0: unknown
	What   string // "rule GB-STRONG", "action free_spins", …
	Detail string
	Remedy string
}

func (p *Problem) Error() string {
	where := p.File
	if p.Line > 0 {
		where = fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	s := where + ": "
	if p.What != "" {
		s += p.What + ": "
	}
	s += p.Detail
	if p.Remedy != "" {
		s += " (" + p.Remedy + ")"
	}
	return s
}

// Problems are all the mistakes that were found at once.
type Problems []*Problem

func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return "decide: " + strings.Join(lines, "\n")
}

// source is a policy file that can tell the line of anything in it.
type source struct {
	file string
	text []byte
}

func newSource(file string, text []byte) *source { return &source{file, text} }

func (s *source) problem(path, what, remedy, format string, args ...any) *Problem {
	return &Problem{File: s.file, Line: strictyaml.Line(s.text, path), What: what, Remedy: remedy, Detail: fmt.Sprintf(format, args...)}
}

// decodeYAML reads a file strictly: an unknown or repeated field is a mistake.
func decodeYAML(s *source, into any) *Problem {
	err := strictyaml.Decode(s.text, into)
	if err == nil {
		return nil
	}
	p := &Problem{File: s.file, Detail: err.Error(), Remedy: "docs/rules.md lists the fields"}
	var e *strictyaml.Error
	if errors.As(err, &e) {
		p.Line, p.Detail = e.Line, e.Detail
	}
	return p
}
