package model

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Answers holds what a model file does not say about itself. An empty field is not
// answered.
type Answers struct {
	Name, Version, Output string
	Columns               []string // of all inputs, in the file's order
	OutputTensor          string
	Class                 string // the class whose score it is, or the number of the output's column
	Rows                  string // CSV of training rows
	Expected              string // column of Rows that holds the exporter's own scores
	Known                 func(feature string) bool
}

// Import writes dir/NAME/VERSION for an ONNX file and checks it by loading it. If the
// file and the answers leave something open, it writes nothing and returns questions;
// each names a flag and its purpose.
func Import(file, dir string, a Answers) (m *Model, questions []string, err error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, fmt.Errorf("models: import: %w", err)
	}
	g, err := readGraph(data)
	if err != nil {
		return nil, nil, fmt.Errorf("models: import: %s: %w", file, err)
	}
	sum := sha256.Sum256(data)
	im := &importer{g: g, a: a, man: &Manifest{Name: a.Name, Version: a.Version, Kind: KindProbability, Output: a.Output,
		File: "model.onnx", SHA256: hex.EncodeToString(sum[:]), Golden: "golden.json",
		Trained: Trained{With: g.producer}, Metrics: map[string]any{}}}
	im.name()
	im.output()
	if err := im.rows(); err != nil {
		return nil, nil, fmt.Errorf("models: import: %w", err)
	}
	im.inputs()
	if len(im.questions) > 0 {
		return nil, im.questions, nil
	}
	folder := filepath.Join(dir, a.Name, a.Version)
	m, err = im.write(file, folder, data)
	if err != nil {
		return nil, nil, fmt.Errorf("models: import: %w", err)
	}
	return m, nil, nil
}

type importer struct {
	g         *graph
	a         Answers
	man       *Manifest
	table     *table
	questions []string
}

func (im *importer) ask(format string, args ...any) {
	im.questions = append(im.questions, fmt.Sprintf(format, args...))
}

func (im *importer) name() {
	if im.a.Name == "" || im.a.Version == "" {
		im.ask("--name NAME --version VERSION: the model's folder below the models folder, e.g. leave v3")
	}
	im.man.Output = cmp.Or(im.man.Output, im.a.Name)
}

// output picks the tensor that holds the score, and the score's place in it.
func (im *importer) output() {
	v := im.scoreOutput()
	if v == nil {
		return
	}
	im.man.OutputTensor = v.name
	classes := im.g.classes()
	class := im.a.Class
	if class == "" && slices.Equal(classes, []string{"0", "1"}) {
		class = "1"
	}
	width := 1
	if !v.maps && v.shaped {
		width, _ = rowShape(v.dims, max(2, len(classes)))
	}
	at := slices.Index(classes, class)
	if n, err := strconv.Atoi(class); err == nil && at < 0 && len(classes) == 0 {
		at = n
	}
	switch {
	case !v.maps && width == 1 && v.shaped:
	case class == "" && (v.maps || width > 1 || len(classes) > 1):
		im.ask("--class CLASS: the class whose probability is the score; output %q has one per class%s", v.name, listed(classes))
	case v.maps:
		im.man.OutputClass = class
	case at >= 0:
		im.man.OutputColumn = &at
	case class != "":
		im.ask("--class CLASS: %q is not among the classes%s", class, listed(classes))
	}
}

// scoreOutput returns the output that holds the score, or asks for it and returns nil.
func (im *importer) scoreOutput() *valueInfo {
	if im.a.OutputTensor != "" {
		if v := im.g.output(im.a.OutputTensor); v != nil {
			return v
		}
		im.ask("--output-tensor NAME: the file has no output %q, but %s", im.a.OutputTensor, names(im.g.outputs))
		return nil
	}
	var scores []valueInfo // outputs that are not labels
	for _, v := range im.g.outputs {
		if v.maps || v.elem == elemFloat32 || v.elem == elemFloat64 {
			scores = append(scores, v)
		}
	}
	if len(scores) == 1 {
		return im.g.output(scores[0].name)
	}
	im.ask("--output-tensor NAME: which of the file's outputs is the score: %s", names(im.g.outputs))
	return nil
}

// inputs names the columns: by the answers, the names of the file's inputs, or the
// header of the training rows.
func (im *importer) inputs() {
	var widths []int
	total, named := 0, []string{}
	for _, in := range im.g.inputs {
		width, _ := rowShape(in.dims, 1)
		if len(im.g.inputs) == 1 && len(in.dims) > 1 && in.dims[len(in.dims)-1] == -1 {
			width = max(len(im.a.Columns), 1)
		}
		widths, total = append(widths, width), total+width
		if c := im.columnOf(in); c != "" && width == 1 {
			named = append(named, c)
		}
	}
	columns := im.a.Columns
	if len(columns) == 0 && len(named) == total {
		columns = named
	}
	if len(columns) == 0 && im.table != nil && len(im.table.columns) == total {
		columns = im.table.columns
	}
	if len(columns) != total {
		im.ask("--features A,B,…: the %d columns in the order of training, as features.yaml calls them, or for words player.tier and the like (inputs: %s; answered: %d)",
			total, describe(im.g.inputs), len(columns))
		return
	}
	for _, c := range columns {
		if im.a.Known != nil && !isWord(c) && !im.a.Known(c) {
			im.ask("--features …: features.yaml declares no feature %q: declare it, or name another", c)
		}
	}
	if len(widths) == 1 {
		im.man.Input, im.man.Features = im.g.inputs[0].name, columns
	} else {
		at := 0
		for i, w := range widths {
			im.man.Inputs = append(im.man.Inputs, Input{Tensor: im.g.inputs[i].name, Columns: columns[at : at+w]})
			at += w
		}
	}
	im.fromRows(columns)
}

// columnOf returns the column that an input of width 1 is named after, or "".
func (im *importer) columnOf(in valueInfo) string {
	switch {
	case in.elem == elemString && isWord("player."+in.name):
		return "player." + in.name
	case in.elem != elemString && im.a.Known != nil && im.a.Known(in.name):
		return in.name
	}
	return ""
}

func describe(vs []valueInfo) string {
	out := make([]string, len(vs))
	for i, v := range vs {
		out[i] = fmt.Sprintf("%s %s %v", v.name, elemName(v.elem), v.dims)
	}
	return strings.Join(out, "; ")
}

// write writes the version's folder and loads it. On failure it removes the folder.
func (im *importer) write(file, folder string, data []byte) (m *Model, err error) {
	if _, err := os.Stat(folder); err == nil {
		return nil, fmt.Errorf("%s exists already: versions are never changed, only added", folder)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(folder) // the error that matters is err
		}
	}()
	for _, name := range im.g.external {
		body, err := os.ReadFile(filepath.Join(filepath.Dir(file), filepath.Base(name)))
		if err != nil {
			return nil, fmt.Errorf("the model's weights are in %s, which must be in the folder of %s: %w", name, file, err)
		}
		if im.man.Data == nil {
			im.man.Data = map[string]string{}
		}
		sum := sha256.Sum256(body)
		im.man.Data[name] = hex.EncodeToString(sum[:])
		if err := os.WriteFile(filepath.Join(folder, filepath.Base(name)), body, 0o644); err != nil {
			return nil, err
		}
	}
	if err := os.WriteFile(filepath.Join(folder, im.man.File), data, 0o644); err != nil {
		return nil, err
	}
	im.man.dir = folder
	if err := im.man.check(im.a.Known); err != nil {
		return nil, err
	}
	golden, err := im.golden(data)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(folder, im.man.Golden), golden, 0o644); err != nil {
		return nil, err
	}
	body, err := yaml.Marshal(im.man)
	if err != nil {
		return nil, err
	}
	body = append([]byte("# Written by `pitboss models import`; metrics and thresholds are for you to fill in.\n"), body...)
	if err := os.WriteFile(filepath.Join(folder, "model.yaml"), body, 0o644); err != nil {
		return nil, err
	}
	return LoadModel(folder, LoadOptions{Known: im.a.Known, Slots: 1})
}
