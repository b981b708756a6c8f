package model

import (
	"fmt"
	"math"
	"os"

	"github.com/go-json-experiment/json"
)

// scoreTolerance of the golden vectors: a score is float32 arithmetic summed
// in another order than Python's.
const scoreTolerance = 2e-5

// goldenFile is golden.json: rows and what Python computed for them.
type goldenFile struct {
	Rows []goldenRow `json:"rows"`
}

type goldenRow struct {
	Input  []float64 `json:"input"`
	Output []float64 `json:"output"`
}

func readGolden(path string) (*goldenFile, error) {
	body, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var g goldenFile
	if err := json.Unmarshal(body, &g, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(g.Rows) == 0 {
		return nil, fmt.Errorf("%s: holds no rows", path)
	}
	return &g, nil
}

// explainedRows is how many explanations a load checks: a sample, for a cold
// start waits for it.
const explainedRows = 16

// checkGolden scores every golden row and compares; and some explanations with
// the scores that they explain.
func (m *Model) checkGolden(g *goldenFile) error {
	x, y := make([]float32, m.columns), make([]float32, m.outputs)
	phi, decided := make([]float64, m.columns), make([]uint8, m.columns)
	for i, row := range g.Rows {
		if len(row.Input) != m.columns || len(row.Output) != m.outputs {
			return fmt.Errorf("row %d has %d inputs and %d outputs, the model has %d and %d",
				i, len(row.Input), len(row.Output), m.columns, m.outputs)
		}
		for k, v := range row.Input {
			x[k] = float32(v)
		}
		if err := m.Score(x, y); err != nil {
			return fmt.Errorf("row %d: %w", i, err)
		}
		for k, want := range row.Output {
			if !near(float64(y[k]), want, scoreTolerance) {
				return fmt.Errorf("row %d: output %d is %g here, was %g when the model was trained", i, k, y[k], want)
			}
		}
		if i%max(1, len(g.Rows)/explainedRows) != 0 {
			continue
		}
		if base, ok := m.Explain(x, phi, decided); ok {
			for _, c := range phi {
				base += c
			}
			if p := 1 / (1 + math.Exp(-base)); !near(p, float64(y[0]), scoreTolerance) {
				return fmt.Errorf("row %d: base and contributions sum to a score of %g, the model's is %g", i, p, y[0])
			}
		}
	}
	return nil
}

// near is false for a NaN on either side.
func near(a, b, tolerance float64) bool { return math.Abs(a-b) <= tolerance }
