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

// Model is a loaded and checked model. Its methods may be called concurrently, except
// Close.
type Model struct {
	Manifest *Manifest

	// Explained describes how contributions are computed, or why there are none.
	Explained string

	columns, outputs int
	bounds           []bound // of the domain
	wiring           *wiring
	session          *session
	trees            *explainer // exact contributions; nil: sampled, or none
	unit             bool       // all golden scores are from 0 to 1
	single           bool       // the trees read float32
	sampled          *sampler   // nil: exact, or none
	drift            *drift
	ranker           *ranker
	refs             atomic.Int64 // the number of lineups that hold it; the last one closes it
}

// LoadOptions says how to load models. The zero value is usable.
type LoadOptions struct {
	// Known reports whether a feature is declared; nil accepts every name.
	Known func(feature string) bool
	// Slots is the number of calls that may run at once; 0 means GOMAXPROCS.
	Slots int
	// Runtime returns once ONNX Runtime is open. It is called after everything else of a
	// model has been read, so that the two overlap. nil: the runtime is open already.
	Runtime func() error
}

// LoadModel reads the model in folder dir and checks its manifest, hash, shapes,
// operator sets (by ONNX Runtime) and golden vectors. The error names the file that is
// wrong. [OpenRuntime] must have succeeded, unless opt.Runtime opens it.
func LoadModel(dir string, opt LoadOptions) (*Model, error) {
	man, err := ReadManifest(dir, opt.Known)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, man.File)
	data, err := readHashed(path, man.SHA256)
	if err != nil {
		return nil, err
	}
	g, err := readGraph(data)
	if err != nil {
		return nil, fmt.Errorf("score: %s: %w", path, err)
	}
	if err := checkData(dir, g, man); err != nil {
		return nil, err
	}
	w, err := wire(g, man)
	if err != nil {
		return nil, fmt.Errorf("score: %s: %w", path, err)
	}
	golden, err := readGolden(filepath.Join(dir, man.Golden), man)
	if err != nil {
		return nil, fmt.Errorf("score: golden vectors: %w", err)
	}
	m, err := newModel(man, g, w, data, opt)
	if err != nil {
		return nil, fmt.Errorf("score: %s: %w", path, err)
	}
	if err := m.checkGolden(golden); err != nil {
		return nil, errors.Join(fmt.Errorf("score: %s: %w", filepath.Join(dir, man.Golden), err), m.Close())
	}
	if man.Kind == KindProbability {
		m.explainBy(g, golden)
	}
	return m, nil
}

func readHashed(path, want string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("score: %w", err)
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != want {
		return nil, fmt.Errorf("score: %s: sha256 is %x, model.yaml says %s: the file is damaged or not the one that was trained",
			path, sum, want)
	}
	return data, nil
}

// checkData checks the hashes of the files that hold weights outside the graph.
func checkData(dir string, g *graph, man *Manifest) error {
	for _, file := range g.external {
		sum, ok := man.Data[file]
		if !ok {
			return fmt.Errorf("score: %s: the model's weights are in %s: add `data: {%s: SHA-256}` to model.yaml and put the file beside it", man.Key(), file, file)
		}
		if _, err := readHashed(filepath.Join(dir, file), sum); err != nil {
			return err
		}
	}
	return nil
}

func newModel(man *Manifest, g *graph, w *wiring, data []byte, opt LoadOptions) (*Model, error) {
	slots := opt.Slots
	if slots <= 0 {
		slots = runtime.GOMAXPROCS(0)
	}
	m := &Model{Manifest: man, columns: man.columns(), outputs: man.outputs(), wiring: w, bounds: man.Domain.bounds(man.Columns())}
	if man.Kind == KindRanking {
		m.ranker = newRanker(man)
		m.Explained = "not explained: a ranking has no contributions"
	} else {
		m.drift = newDrift(man)
	}
	if opt.Runtime != nil {
		if err := opt.Runtime(); err != nil {
			return nil, err
		}
	}
	var err error
	m.session, err = newSession(data, man.dir, w, w.plain(g), slots)
	if err != nil {
		return nil, fmt.Errorf("ONNX Runtime %s refuses it (IR version %d, operator sets %v; export again with a lower target_opset if that is what it says): %w",
			RuntimeVersion, g.irVersion, g.opsets, err)
	}
	return m, nil
}

// Score runs one row and writes a value per output to y. It rounds the row's numbers in
// place to the precision of the graph's tensors. If all tensors are numbers, it does not
// allocate. The error is [ErrNotFinite], [ErrNoScore] or ONNX Runtime's.
func (m *Model) Score(row Row, y []float64) error {
	if len(row.Numbers) != m.columns || len(y) < m.outputs {
		return fmt.Errorf("score: %s: row of %d inputs and %d outputs, want %d and %d",
			m.Manifest.Key(), len(row.Numbers), len(y), m.columns, m.outputs)
	}
	if i := m.wiring.round(row.Numbers); i >= 0 {
		return m.inputError(i, row.Numbers[i])
	}
	if err := m.session.run(row, y); err != nil {
		return err
	}
	if i := notFinite(y[:m.outputs]); i >= 0 {
		return fmt.Errorf("%w: output %d of model %s is %g", ErrNoScore, i, m.Manifest.Key(), y[i])
	}
	return nil
}

// ScoreBatch is like Score for any number of rows of numbers, which are concatenated in
// x, as are their outputs in y.
func (m *Model) ScoreBatch(x, y []float64) error {
	rows := len(x) / m.columns
	if len(x) != rows*m.columns || len(y) < rows*m.outputs {
		return fmt.Errorf("score: %s: batch of %d inputs and %d outputs, want multiples of %d and %d",
			m.Manifest.Key(), len(x), len(y), m.columns, m.outputs)
	}
	for r := range rows {
		row := x[r*m.columns : (r+1)*m.columns]
		if i := m.wiring.round(row); i >= 0 {
			return fmt.Errorf("row %d: %w", r, m.inputError(i, row[i]))
		}
	}
	step := 1
	if m.session.batch != nil {
		step = batchRows
	}
	for at := 0; at < rows; at += step {
		n := min(step, rows-at)
		in, out := x[at*m.columns:(at+n)*m.columns], y[at*m.outputs:(at+n)*m.outputs]
		var err error
		if step == 1 {
			err = m.session.run(Row{Numbers: in}, out)
		} else {
			err = m.session.runBatch(in, out)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (m *Model) inputError(column int, v float64) error {
	name := fmt.Sprintf("column %d", column)
	if m.Manifest.Kind == KindProbability {
		name = m.Manifest.Columns()[column]
	}
	return fmt.Errorf("%w: %s = %g, for model %s", ErrNotFinite, name, v, m.Manifest.Key())
}

// notFinite returns the index of the first NaN or infinity, or -1.
func notFinite(x []float64) int {
	for i, v := range x {
		if math.Float64bits(v)&exponent64 == exponent64 {
			return i
		}
	}
	return -1
}

// Close frees the model. It must not be called while a method runs, nor may a method be
// called after it.
func (m *Model) Close() error { return m.session.close() }
