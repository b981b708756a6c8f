package manifest

import (
	"fmt"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// Render is what `kubectl kustomize dir` prints.
func Render(dir string) ([]byte, error) {
	m, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		return nil, fmt.Errorf("manifest: render %s: %w", dir, err)
	}
	text, err := m.AsYaml()
	if err != nil {
		return nil, fmt.Errorf("manifest: render %s: %w", dir, err)
	}
	return text, nil
}
