package kustomize

import (
	"fmt"
	"sync"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// rendering is held while kustomize runs, since kyaml v0.20.1 writes its schema to global
// variables without a lock.
var rendering sync.Mutex

// Render returns what `kubectl kustomize dir` prints.
func Render(dir string) ([]byte, error) {
	rendering.Lock()
	defer rendering.Unlock()
	m, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		return nil, fmt.Errorf("kustomize:  %s: %w", dir, err)
	}
	text, err := m.AsYaml()
	if err != nil {
		return nil, fmt.Errorf("kustomize:  %s: %w", dir, err)
	}
	return text, nil
}
