package score

import (
	"fmt"
	"math"
	"os"

	"github.com/go-json-experiment/json"
)

// Tolerances of the golden vectors. A score is float32 arithmetic summed in
// another order than Python's; a contribution is in log-odds.
const (
	scoreTolerance        = 2e-5
	contributionTolerance = 1e-4
)

// goldenFile is golden.json: rows and what Python computed for them.
type goldenFile struct {
	Rows []goldenRow `json:"rows"`
}

type goldenRow struct {
	Input  []float64 `json:"input"`
	Output []float64 `json:"output"`
	// Contributions is LightGBM's pred_contrib: one per column, then the base.
	Contributions []float64 `json:"contributions,omitempty"`
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

// checkGolden scores every golden row and compares.
func (m *Model) checkGolden(g *goldenFile) error {
	x, y := make([]float32, m.columns), make([]float32, m.outputs)
	phi := make([]float64, m.columns)
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
		if m.explainer == nil || row.Contributions == nil {
			continue
		}
		if len(row.Contributions) != m.columns+1 {
			return fmt.Errorf("row %d has %d contributions, want %d and the base", i, len(row.Contributions), m.columns)
		}
		clear(phi)
		m.explainer.explain(x, phi)
		for k, want := range row.Contributions[:m.columns] {
			if !near(phi[k], want, contributionTolerance) {
				return fmt.Errorf("row %d: the contribution of %s is %g here, was %g when the model was trained",
					i, m.Manifest.Features[k], phi[k], want)
			}
		}
		if base := row.Contributions[m.columns]; !near(m.explainer.base, base, contributionTolerance) {
			return fmt.Errorf("row %d: the base is %g here, was %g when the model was trained", i, m.explainer.base, base)
		}
	}
	return nil
}

// near is false for a NaN on either side.
func near(a, b, tolerance float64) bool { return math.Abs(a-b) <= tolerance }
