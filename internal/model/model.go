package model

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
)

// batchRows is the number of rows of one batch call.
const batchRows = 64

// tensorSpec is the name and row width of a float32 tensor [N, width].
type tensorSpec struct {
	name  string
	width int
}

// Model is a loaded and proven model. Its methods may be called concurrently.
type Model struct {
	Manifest *Manifest

	// Unexplained says why there are no contributions; "" when there are.
	Unexplained string

	columns, outputs int
	session          *session
	explainer        *explainer
	drift            *drift
	ranker           *ranker
	refs             atomic.Int64 // lineups that hold it; the last one closes it
}

// LoadOptions says how to load models. The zero value is usable.
type LoadOptions struct {
	// Known tells whether a feature is declared; nil accepts every name.
	Known func(feature string) bool
	// Slots is the number of calls that may run at once; 0: GOMAXPROCS.
	Slots int
	// Runtime is asked for when everything else of a model was read, so that
	// ONNX Runtime may open meanwhile; nil: it is open.
	Runtime func() error
}

// LoadModel reads the model in folder dir and proves it: manifest, hash,
// shapes, operator sets (by ONNX Runtime) and golden vectors. The error names
// the file that is wrong. [OpenRuntime] must have succeeded, or opt.Runtime
// sees to it.
func LoadModel(dir string, opt LoadOptions) (*Model, error) {
	man, err := ReadManifest(dir, opt.Known)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, man.File)
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("score: %w", err)
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != man.SHA256 {
		return nil, fmt.Errorf("score: %s: sha256 is %x, model.yaml says %s: the file is damaged or not the one that was trained",
			path, sum, man.SHA256)
	}
	g, err := readGraph(data)
	if err == nil {
		err = checkShapes(g, man)
	}
	if err != nil {
		return nil, fmt.Errorf("score: %s: %w", path, err)
	}
	golden, err := readGolden(filepath.Join(dir, man.Golden))
	if err != nil {
		return nil, fmt.Errorf("score: golden vectors: %w", err)
	}
	m, err := newModel(man, g, data, opt)
	if err != nil {
		return nil, fmt.Errorf("score: %s: %w", path, err)
	}
	if err := m.checkGolden(golden); err != nil {
		return nil, errors.Join(fmt.Errorf("score: %s: %w", filepath.Join(dir, man.Golden), err), m.Close())
	}
	return m, nil
}

func newModel(man *Manifest, g *graph, data []byte, opt LoadOptions) (*Model, error) {
	slots := opt.Slots
	if slots <= 0 {
		slots = runtime.GOMAXPROCS(0)
	}
	m := &Model{Manifest: man, columns: man.columns(), outputs: man.outputs()}
	if man.Kind == KindRanking {
		m.ranker = newRanker(man)
		m.Unexplained = "a ranking has no contributions"
	} else {
		m.drift = newDrift(man)
		trees, base, err := readTrees(g)
		if err == nil {
			m.explainer, err = newExplainer(trees, base, man.reference())
		}
		if err != nil {
			m.Unexplained = err.Error()
		}
	}
	if opt.Runtime != nil {
		if err := opt.Runtime(); err != nil {
			return nil, err
		}
	}
	var err error
	m.session, err = newSession(data, tensorSpec{man.Input, m.columns}, tensorSpec{man.OutputTensor, m.outputs}, slots)
	if err != nil {
		return nil, fmt.Errorf("ONNX Runtime %s refuses it (IR version %d, operator sets %v): %w",
			RuntimeVersion, g.irVersion, g.opsets, err)
	}
	return m, nil
}

// checkShapes compares the graph's tensors with the manifest's.
func checkShapes(g *graph, man *Manifest) error {
	if len(g.inputs) != 1 {
		return fmt.Errorf("the graph has %d inputs, want one float32 tensor [N, %d]", len(g.inputs), man.columns())
	}
	if err := checkTensor("input", g.inputs[0], man.Input, man.columns()); err != nil {
		return err
	}
	for _, out := range g.outputs {
		if out.name == man.OutputTensor {
			return checkTensor("output", out, man.OutputTensor, man.outputs())
		}
	}
	return fmt.Errorf("the graph has no output %q, which model.yaml names", man.OutputTensor)
}

func checkTensor(what string, t tensorInfo, name string, width int) error {
	const float32Elem = 1
	if t.name != name {
		return fmt.Errorf("the graph's %s is %q, model.yaml says %q", what, t.name, name)
	}
	if t.elem != float32Elem || len(t.dims) != 2 || t.dims[0] != -1 || t.dims[1] != int64(width) {
		return fmt.Errorf("%s %q must be float32 [N, %d], is %s %v", what, name, width, elemName(t.elem), t.dims)
	}
	return nil
}

func elemName(elem int64) string {
	names := map[int64]string{1: "float32", 6: "int32", 7: "int64", 8: "string", 10: "float16", 11: "float64"}
	if n, ok := names[elem]; ok {
		return n
	}
	return fmt.Sprintf("element type %d", elem)
}

// Score runs one row: x has a value per input column, y receives a value per
// output. It allocates nothing. The error is [ErrNotFinite], [ErrNoScore] or ONNX Runtime's.
func (m *Model) Score(x, y []float32) error {
	if len(x) != m.columns || len(y) < m.outputs {
		return fmt.Errorf("score: %s: row of %d inputs and %d outputs, want %d and %d",
			m.Manifest.Key(), len(x), len(y), m.columns, m.outputs)
	}
	if i := notFinite(x); i >= 0 {
		return m.inputError(i, x[i])
	}
	if err := m.session.run(x, y); err != nil {
		return err
	}
	if i := notFinite(y[:m.outputs]); i >= 0 {
		return fmt.Errorf("%w: output %d of model %s is %g", ErrNoScore, i, m.Manifest.Key(), y[i])
	}
	return nil
}

// ScoreBatch runs any number of rows, one after another in x, and writes their
// outputs to y in the same order. It allocates nothing.
func (m *Model) ScoreBatch(x, y []float32) error {
	rows := len(x) / m.columns
	if len(x) != rows*m.columns || len(y) < rows*m.outputs {
		return fmt.Errorf("score: %s: batch of %d inputs and %d outputs, want multiples of %d and %d",
			m.Manifest.Key(), len(x), len(y), m.columns, m.outputs)
	}
	if i := notFinite(x); i >= 0 {
		return fmt.Errorf("row %d: %w", i/m.columns, m.inputError(i%m.columns, x[i]))
	}
	for at := 0; at < rows; at += batchRows {
		n := min(batchRows, rows-at)
		err := m.session.runBatch(x[at*m.columns:(at+n)*m.columns], y[at*m.outputs:(at+n)*m.outputs])
		if err != nil {
			return err
		}
	}
	return nil
}

func (m *Model) inputError(column int, v float32) error {
	name := fmt.Sprintf("column %d", column)
	if m.Manifest.Kind == KindProbability {
		name = m.Manifest.Features[column]
	}
	return fmt.Errorf("%w: %s = %g, for model %s", ErrNotFinite, name, v, m.Manifest.Key())
}

// notFinite returns the index of the first NaN or infinity, or -1.
func notFinite(x []float32) int {
	const exponent = 0x7f800000
	for i, v := range x {
		if math.Float32bits(v)&exponent == exponent {
			return i
		}
	}
	return -1
}

// Explain sets phi to each column's contribution to the margin (log-odds) of
// row x and returns the base, the margin of the model's reference, or false
// when the model cannot be explained. decided is memory for the work: one zero per column.
func (m *Model) Explain(x []float32, phi []float64, decided []uint8) (base float64, ok bool) {
	if m.explainer == nil {
		return 0, false
	}
	clear(phi)
	m.explainer.explain(x, phi, decided)
	return m.explainer.base, true
}

// Close frees the model. Nobody may use it any more.
func (m *Model) Close() error { return m.session.close() }
