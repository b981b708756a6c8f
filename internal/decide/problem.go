package decide

import (
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
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
	doc  *ast.File
}

func newSource(file string, b []byte) *source {
	doc, err := parser.ParseBytes(b, 0)
	if err != nil {
		doc = nil // decoding reports the syntax error with its line
	}
	return &source{file, doc}
}

// line finds a YAML path ($.rules[3].when), or 0.
func (s *source) line(path string) int {
	p, err := yaml.PathString(path)
	if err != nil || s.doc == nil {
		return 0
	}
	node, err := p.FilterFile(s.doc)
	if err != nil || node == nil {
		return 0
	}
	return node.GetToken().Position.Line
}

func (s *source) problem(path, what, remedy, format string, args ...any) *Problem {
	return &Problem{File: s.file, Line: s.line(path), What: what, Remedy: remedy, Detail: fmt.Sprintf(format, args...)}
}

// decodeYAML reads b strictly: an unknown or repeated field is a mistake.
func decodeYAML(s *source, b []byte, into any) *Problem {
	if err := yaml.UnmarshalWithOptions(b, into, yaml.Strict()); err != nil {
		msg := strings.Split(yaml.FormatError(err, false, false), "\n")[0]
		p := &Problem{File: s.file, Detail: msg, Remedy: "docs/rules.md lists the fields"}
		if n, err := fmt.Sscanf(msg, "[%d:", &p.Line); n == 1 && err == nil {
			if _, rest, ok := strings.Cut(msg, "] "); ok {
				p.Detail = rest
			}
		}
		return p
	}
	return nil
}
