package spec

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
)

// Problem is one mistake in a manifest.
type Problem struct {
	File   string // path as it was given
	Field  string // path of the field, e.g. spec.filter.attributes.tpye; may be empty
	Detail string // what is wrong
	Remedy string // what to do; may be empty
}

func (p *Problem) Error() string {
	s := p.File + ": "
	if p.Field != "" {
		s += p.Field + ": "
	}
	s += p.Detail
	if p.Remedy != "" {
		s += " (" + p.Remedy + ")"
	}
	return s
}

// Problems are all the mistakes found, in order of file and field. It is an
// error when it is not empty; see [Problems.Err].
type Problems []*Problem

func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// Err returns the problems as an error, nil when there are none.
func (ps Problems) Err() error {
	if len(ps) == 0 {
		return nil
	}
	sort.SliceStable(ps, func(i, j int) bool { return ps[i].File < ps[j].File })
	return ps
}

// AsProblems are the problems that an error is, or one of it.
func AsProblems(file string, err error) Problems {
	var several Problems
	if errors.As(err, &several) {
		return several
	}
	var one *Problem
	if errors.As(err, &one) {
		return Problems{one}
	}
	return Problems{{File: file, Detail: err.Error()}}
}

// YAMLFiles lists the *.yaml files of a folder, kustomization.yaml excepted.
func YAMLFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	var files []string
	for _, e := range entries {
		if !e.IsDir() && filepath.Ext(e.Name()) == ".yaml" && e.Name() != "kustomization.yaml" {
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	return files, nil
}
