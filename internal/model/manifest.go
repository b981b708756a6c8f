package model

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"pitboss/internal/strictyaml"
)

// Kinds of model.
const (
	// KindProbability gives one number per row, a probability.
	KindProbability = "probability"
	// KindRanking gives one number per item of a fixed list, best first.
	KindRanking = "ranking"
)

// Manifest is the content of model.yaml.
type Manifest struct {
	Name    string `yaml:"name"`    // the folder above: leave, harm, next-game
	Version string `yaml:"version"` // the folder itself: v1
	Kind    string `yaml:"kind"`    // probability | ranking
	Output  string `yaml:"output"`  // name of the score in player.scored

	File   string `yaml:"file"`   // model.onnx
	SHA256 string `yaml:"sha256"` // of File, hex
	Golden string `yaml:"golden"` // golden.json

	// Data has the SHA-256 of each further file that holds weights (ONNX external data).
	Data map[string]string `yaml:"data,omitempty"`

	// Input names the graph's only input tensor, whose columns are Features, in order. A
	// graph with several has Inputs instead.
	Input    string   `yaml:"input,omitempty"`
	Features []string `yaml:"features,omitempty"`
	Inputs   []Input  `yaml:"inputs,omitempty"`
	// OutputTensor names the output that holds the score. OutputColumn is the score's
	// column if there are several, OutputClass its key if the output is a sequence of maps
	// (ZipMap). A ranking has a column per item.
	OutputTensor string `yaml:"output_tensor"`
	OutputColumn *int   `yaml:"output_column,omitempty"`
	OutputClass  string `yaml:"output_class,omitempty"`
	// Reference is the player with whom explanations compare: the median of each column
	// over the training set, in order (0 for a column of words).
	Reference []float64 `yaml:"reference,omitempty,flow"`
	// Words has the reference's words, by column.
	Words map[string]string `yaml:"reference_words,omitempty"`
	// ExplainOrders is the number of orders in a sampled explanation; 0 means 16.
	ExplainOrders int `yaml:"explain_orders,omitempty"`
	// Items and History describe a ranking model (see [History]).
	Items   []string `yaml:"items,omitempty"`
	History *History `yaml:"history,omitempty"`

	// Domain describes the players it was trained on; nil: all players.
	Domain *Domain `yaml:"domain,omitempty"`

	Trained    Trained              `yaml:"trained"`
	Metrics    map[string]any       `yaml:"metrics"`
	Thresholds map[string]float64   `yaml:"thresholds,omitempty"`
	Histograms map[string]Histogram `yaml:"histograms,omitempty"`

	dir string
}

// Input is one input tensor and the columns that fill it: features as declared
// in features.yaml, or words (player.tier, player.jurisdiction …).
type Input struct {
	Tensor  string   `yaml:"tensor"`
	Columns []string `yaml:"columns,flow"`
}

// Trained records the training data and the trainer.
type Trained struct {
	On         []string `yaml:"on"`
	Rows       int      `yaml:"rows"`
	FeatureSet string   `yaml:"feature_set,omitempty"` // hash of the declarations
	With       string   `yaml:"with"`
	Seed       int      `yaml:"seed"`
}

// Histogram is the distribution of a feature in the training set: the share
// of values in (-∞, e0], (e0, e1], …, (e_last, ∞).
type Histogram struct {
	Edges  []float64 `yaml:"edges,flow"`
	Shares []float64 `yaml:"shares,flow"` // one more than edges; they sum to 1
}

var versionName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// ReadManifest reads and checks dir/model.yaml. known reports whether a feature is
// declared; nil accepts every name. The error names the file.
func ReadManifest(dir string, known func(name string) bool) (*Manifest, error) {
	path := filepath.Join(dir, "model.yaml")
	body, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("score: %w", err)
	}
	m := &Manifest{File: "model.onnx", Golden: "golden.json", dir: dir}
	if err := strictyaml.Decode(body, m); err != nil {
		return nil, fmt.Errorf("score: %s: %w", path, err)
	}
	if err := m.check(known); err != nil {
		return nil, fmt.Errorf("score: %s: %w", path, err)
	}
	return m, nil
}

func (m *Manifest) check(known func(string) bool) error {
	switch {
	case !versionName.MatchString(m.Name), !versionName.MatchString(m.Version):
		return fmt.Errorf("name and version must be set, letters, digits, '.', '_' or '-' (is %q, %q)", m.Name, m.Version)
	case filepath.Base(m.dir) != m.Version || filepath.Base(filepath.Dir(m.dir)) != m.Name:
		return fmt.Errorf("says it is %s/%s, but is in the folder %s", m.Name, m.Version, m.dir)
	case m.Output == "" || m.OutputTensor == "":
		return errors.New("output and output_tensor must be set")
	case (m.Input == "") == (len(m.Inputs) == 0) || len(m.Inputs) > 0 && len(m.Features) > 0:
		return errors.New("either input (one tensor; features lists its columns) or inputs (a list of tensor and columns) must be set")
	case len(m.SHA256) != 64:
		return errors.New("sha256 must be the 64 hex digits of the model file's SHA-256")
	case filepath.Base(m.File) != m.File || filepath.Base(m.Golden) != m.Golden:
		return errors.New("file and golden must name files in the model's own folder")
	}
	for name, sum := range m.Data {
		if filepath.Base(name) != name || len(sum) != 64 {
			return fmt.Errorf("data: %q must name a file in the model's own folder, with the 64 hex digits of its SHA-256", name)
		}
	}
	switch m.Kind {
	case KindProbability:
		return m.checkFeatures(known)
	case KindRanking:
		return m.checkRanking()
	default:
		return fmt.Errorf("kind must be %s or %s, is %q", KindProbability, KindRanking, m.Kind)
	}
}

func (m *Manifest) checkFeatures(known func(string) bool) error {
	columns := m.Columns()
	if len(columns) == 0 {
		return errors.New("features must list the input's columns")
	}
	seen := map[string]bool{}
	for i, f := range columns {
		switch {
		case seen[f]:
			return fmt.Errorf("features[%d]: %q is listed twice", i, f)
		case strings.HasPrefix(f, "player.") && !isWord(f):
			return fmt.Errorf("features[%d]: %q is not a known word of a player: use one of %s", i, f, wordColumns())
		case known != nil && !isWord(f) && !known(f):
			return fmt.Errorf("features[%d]: unknown feature %q: features.yaml declares no such name", i, f)
		}
		seen[f] = true
	}
	if err := m.checkReference(columns); err != nil {
		return err
	}
	if err := m.Domain.check(columns); err != nil {
		return err
	}
	for f, h := range m.Histograms {
		if !seen[f] || isWord(f) {
			return fmt.Errorf("histograms: %q is not among the model's features", f)
		}
		if err := h.check(); err != nil {
			return fmt.Errorf("histograms: %s: %w", f, err)
		}
	}
	return nil
}

func (m *Manifest) checkReference(columns []string) error {
	if len(m.Reference) != len(columns) {
		return fmt.Errorf("reference must have one value per feature: %d features, %d values", len(columns), len(m.Reference))
	}
	for i, v := range m.Reference {
		if f := float64(float32(v)); math.IsNaN(f) || math.IsInf(f, 0) {
			return fmt.Errorf("reference[%d] (%s): %g is not a finite 32-bit number", i, columns[i], v)
		}
	}
	for c := range m.Words {
		if !isWord(c) || !slices.Contains(columns, c) {
			return fmt.Errorf("reference_words: %q is not a column of words of this model", c)
		}
	}
	return nil
}

func (h Histogram) check() error {
	if len(h.Shares) != len(h.Edges)+1 {
		return fmt.Errorf("%d edges need %d shares, has %d", len(h.Edges), len(h.Edges)+1, len(h.Shares))
	}
	sum := 0.0
	for i, s := range h.Shares {
		if s < 0 || (i > 0 && i < len(h.Edges) && h.Edges[i] <= h.Edges[i-1]) {
			return errors.New("edges must rise and shares must not be negative")
		}
		sum += s
	}
	if sum < 0.999 || sum > 1.001 {
		return fmt.Errorf("shares must sum to 1, sum to %g", sum)
	}
	return nil
}

// Columns returns the names of the row's columns: those of all inputs, in order.
func (m *Manifest) Columns() []string {
	if len(m.Inputs) == 0 {
		return m.Features
	}
	var out []string
	for _, in := range m.Inputs {
		out = append(out, in.Columns...)
	}
	return out
}

// inputs returns the graph's inputs with their columns. A ranking's columns have no names.
func (m *Manifest) inputs() []Input {
	if len(m.Inputs) > 0 {
		return m.Inputs
	}
	return []Input{{Tensor: m.Input, Columns: m.Features}}
}

// reference returns the row with which explanations compare.
func (m *Manifest) reference() Row {
	columns := m.Columns()
	r := Row{Numbers: slices.Clone(m.Reference)}
	for i, c := range columns {
		if isWord(c) {
			if r.Words == nil {
				r.Words = make([]string, len(columns))
			}
			r.Words[i] = m.Words[c]
		}
	}
	return r
}

// Key returns name/version.
func (m *Manifest) Key() string { return m.Name + "/" + m.Version }

// columns returns the width of the input row.
func (m *Manifest) columns() int {
	if m.Kind == KindRanking {
		return m.History.columns(len(m.Items))
	}
	return len(m.Columns())
}

// outputs returns the width of the output row.
func (m *Manifest) outputs() int {
	if m.Kind == KindRanking {
		return len(m.Items)
	}
	return 1
}
