package strictyaml

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Problem is a mistake in a file, with its place and what to do about it. All fields except
// Detail may be empty.
type Problem struct {
	File   string // as it was given
	Line   int
	Where  string // in the file: spec.delivery.retry, rule GB-STRONG, feature rounds_10m: where
	Detail string // what is wrong
	Remedy string // what to do
}

func (p *Problem) Error() string {
	s := p.File
	if p.Line > 0 {
		s = fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	for _, part := range []string{p.Where, p.Detail} {
		if part != "" {
			s += ": " + part
		}
	}
	if p.Remedy != "" {
		s += " (" + p.Remedy + ")"
	}
	return s
}

// Problems lists all mistakes that were found. [Problems.Err] turns them into an error.
type Problems []*Problem

func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// Err returns the problems as an error, sorted by file, or nil if there are none.
func (ps Problems) Err() error {
	if len(ps) == 0 {
		return nil
	}
	slices.SortStableFunc(ps, func(a, b *Problem) int { return strings.Compare(a.File, b.File) })
	return ps
}

// AsProblems turns an error about a file into problems.
func AsProblems(file string, err error) Problems {
	var several Problems
	if errors.As(err, &several) {
		return several
	}
	var one *Problem
	if errors.As(err, &one) {
		return Problems{one}
	}
	p := &Problem{File: file, Detail: err.Error()}
	var e *Error
	if errors.As(err, &e) {
		p.Line, p.Detail = e.Line, e.Detail
	}
	return Problems{p}
}
