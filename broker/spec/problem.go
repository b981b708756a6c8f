package spec

import (
	"fmt"
	"os"
	"path/filepath"

	"pitboss/internal/strictyaml"
)

// Problem is one mistake in a manifest, and Problems lists all mistakes found.
type (
	Problem  = strictyaml.Problem
	Problems = strictyaml.Problems
)

// AsProblems returns the problems that an error about a manifest holds.
var AsProblems = strictyaml.AsProblems

// YAMLFiles lists the *.yaml files of a folder except kustomization.yaml.
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
