package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
)

// nextModels makes the models folder of the next release in dir. It declares one more
// feature, which changes the layout of the players' states, and its ONNX models have other
// bytes and therefore other hashes.
func nextModels(models, dir string) error {
	err := filepath.WalkDir(models, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(models, path)
		if err != nil {
			return err
		}
		if d.IsDir() && d.Name() == "train" {
			return fs.SkipDir // not part of a release
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(dir, rel), 0o755)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, rel), text, 0o644)
	})
	if err != nil {
		return fmt.Errorf("next release: %w", err)
	}
	if err := addFeature(filepath.Join(dir, "features.yaml")); err != nil {
		return err
	}
	manifests, err := filepath.Glob(filepath.Join(dir, "*", "*", "model.yaml"))
	if err != nil {
		return err
	}
	for _, m := range manifests {
		if err := changeModel(m); err != nil {
			return err
		}
	}
	return nil
}

const addedFeature = `features:
  - name: drill_rounds_5m
    doc: Declared by the next release only.
    on: [round.settled]
    agg: count
    horizon: {decay: {half_life: 5m}}
`

func addFeature(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	changed := bytes.Replace(text, []byte("\nfeatures:\n"), []byte("\n"+addedFeature), 1)
	if bytes.Equal(text, changed) {
		return fmt.Errorf("%s: no line 'features:'", file)
	}
	return os.WriteFile(file, changed, 0o644)
}

var sum = regexp.MustCompile(`(?m)^sha256: "?[0-9a-f]{64}"?$`)

// changeModel appends a metadata_props entry (field 14 of ONNX's ModelProto)
// to the model beside a model.yaml and writes the new hash into it.
func changeModel(manifest string) error {
	onnx := filepath.Join(filepath.Dir(manifest), "model.onnx")
	model, err := os.ReadFile(onnx)
	if err != nil {
		return err
	}
	model = append(model, 0x72, 10, 0x0a, 5, 'd', 'r', 'i', 'l', 'l', 0x12, 1, 'B')
	if err := os.WriteFile(onnx, model, 0o644); err != nil {
		return err
	}
	text, err := os.ReadFile(manifest)
	if err != nil {
		return err
	}
	hash := sha256.Sum256(model)
	changed := sum.ReplaceAll(text, []byte("sha256: "+hex.EncodeToString(hash[:])))
	if bytes.Equal(text, changed) {
		return fmt.Errorf("%s: no sha256", manifest)
	}
	return os.WriteFile(manifest, changed, 0o644)
}
