package model

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// fingerprint maps each model file to its resolved path, size and modification time.
// Equal fingerprints mean that nothing changed. Symlinks are resolved so that a
// ConfigMap's swap of ..data counts as a change.
type fingerprint map[string]string

// takeFingerprint takes the fingerprint of serving.yaml and of every file in
// dir/<name>/<version> of the models that it names.
func takeFingerprint(dir, serving string) fingerprint {
	f := fingerprint{"serving.yaml": stamp(serving)}
	body, err := os.ReadFile(serving)
	if err != nil {
		return f
	}
	f["serving.yaml"] += fmt.Sprintf(" %x", sha256.Sum256(body))
	s, err := parseServing(serving, body)
	if err != nil {
		return f
	}
	for name, line := range s {
		for _, version := range append([]string{line.Live}, line.Shadow...) {
			folder := filepath.Join(dir, name, version)
			entries, err := os.ReadDir(folder)
			if err != nil {
				f[name+"/"+version+"/"] = err.Error()
				continue
			}
			for _, e := range entries {
				f[name+"/"+version+"/"+e.Name()] = stamp(filepath.Join(folder, e.Name()))
			}
		}
	}
	return f
}

func stamp(path string) string {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err.Error()
	}
	info, err := os.Stat(real)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%s %d %d", real, info.Size(), info.ModTime().UnixNano())
}

// content identifies the files of one model (name/version).
func (f fingerprint) content(key string) string {
	var b strings.Builder
	for _, file := range slices.Sorted(maps.Keys(f)) {
		if strings.HasPrefix(file, key+"/") {
			b.WriteString(file + " " + f[file] + "\n")
		}
	}
	return b.String()
}
