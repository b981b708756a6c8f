package model

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"

	"pitboss/internal/strictyaml"
)

// Kinds of model.
const (
	// KindProbability gives one number per row, a probability.
	KindProbability = "probability"
	// KindRanking gives one number per item of a fixed list, best first.
	KindRanking = "ranking"
)

// Manifest is model.yaml: what a model is, needs and is worth.
type Manifest struct {
	Name    string `yaml:"name"`    // the folder above: leave, harm, next-game
	Version string `yaml:"version"` // the folder itself: v1
	Kind    string `yaml:"kind"`    // probability | ranking
	Output  string `yaml:"output"`  // name of the score in player.scored

	File   string `yaml:"file"`   // model.onnx
	SHA256 string `yaml:"sha256"` // of File, hex
	Golden string `yaml:"golden"` // golden.json

	// Input and OutputTensor name the graph's tensors: float32 [N, len(Features)]
	// in, float32 [N, 1] (probability) or [N, len(Items)] (ranking) out.
	Input        string `yaml:"input"`
	OutputTensor string `yaml:"output_tensor"`
	// Features names the columns of a probability model's input, in order,
	// as declared in features.yaml.
	Features []string `yaml:"features,omitempty"`
	// Reference is the median of each feature over the training set, in the
	// order of Features: the player whom explanations compare with.
	Reference []float64 `yaml:"reference,omitempty,flow"`
	// Items and History describe a ranking model (see [History]).
	Items   []string `yaml:"items,omitempty"`
	History *History `yaml:"history,omitempty"`

	Trained    Trained              `yaml:"trained"`
	Metrics    map[string]any       `yaml:"metrics"`
	Thresholds map[string]float64   `yaml:"thresholds,omitempty"`
	Histograms map[string]Histogram `yaml:"histograms,omitempty"`

	dir string
}

// Trained says what a model was trained on and with.
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

// ReadManifest reads and checks dir/model.yaml. known tells whether a feature
// is declared; nil accepts every name. The error names the file.
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
		return fmt.Errorf("says it is %s/%s, but lies in the folder %s", m.Name, m.Version, m.dir)
	case m.Output == "" || m.Input == "" || m.OutputTensor == "":
		return errors.New("output, input and output_tensor must be set")
	case len(m.SHA256) != 64:
		return errors.New("sha256 must be the 64 hex digits of the model file's SHA-256")
	case filepath.Base(m.File) != m.File || filepath.Base(m.Golden) != m.Golden:
		return errors.New("file and golden must name files in the model's own folder")
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
	if len(m.Features) == 0 {
		return errors.New("features must list the input's columns")
	}
	seen := map[string]bool{}
	for i, f := range m.Features {
		switch {
		case seen[f]:
			return fmt.Errorf("features[%d]: %q is listed twice", i, f)
		case known != nil && !known(f):
			return fmt.Errorf("features[%d]: unknown feature %q: features.yaml declares no such name", i, f)
		}
		seen[f] = true
	}
	if err := m.checkReference(); err != nil {
		return err
	}
	for f, h := range m.Histograms {
		if !seen[f] {
			return fmt.Errorf("histograms: %q is not among the model's features", f)
		}
		if err := h.check(); err != nil {
			return fmt.Errorf("histograms: %s: %w", f, err)
		}
	}
	return nil
}

func (m *Manifest) checkReference() error {
	if len(m.Reference) != len(m.Features) {
		return fmt.Errorf("reference must have one value per feature: %d features, %d values", len(m.Features), len(m.Reference))
	}
	for i, v := range m.Reference {
		if f := float64(float32(v)); math.IsNaN(f) || math.IsInf(f, 0) {
			return fmt.Errorf("reference[%d] (%s): %g is not a finite 32-bit number", i, m.Features[i], v)
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

// reference is Reference as the model's input.
func (m *Manifest) reference() []float32 {
	out := make([]float32, len(m.Reference))
	for i, v := range m.Reference {
		out[i] = float32(v)
	}
	return out
}

// Key names a model: name/version.
func (m *Manifest) Key() string { return m.Name + "/" + m.Version }

// columns is the width of the input row.
func (m *Manifest) columns() int {
	if m.Kind == KindRanking {
		return m.History.columns(len(m.Items))
	}
	return len(m.Features)
}

// outputs is the width of the output row.
func (m *Manifest) outputs() int {
	if m.Kind == KindRanking {
		return len(m.Items)
	}
	return 1
}
