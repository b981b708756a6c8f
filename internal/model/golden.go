package model

import (
	"fmt"
	"math"
	"os"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// scoreTolerance is the tolerance of golden scores: scores are float32 arithmetic, summed
// in another order than in Python.
const scoreTolerance = 2e-5

// goldenFile is golden.json: rows and what Python computed for them.
type goldenFile struct {
	Rows []goldenRow `json:"rows"`
}

type goldenRow struct {
	Input  []jsontext.Value `json:"input"` // a number per column, or a word
	Output []float64        `json:"output"`

	row Row
}

func readGolden(path string, man *Manifest) (*goldenFile, error) {
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
	for i := range g.Rows {
		if err := g.Rows[i].parse(man); err != nil {
			return nil, fmt.Errorf("%s: row %d: %w", path, i, err)
		}
	}
	return &g, nil
}

func (r *goldenRow) parse(man *Manifest) (err error) {
	columns := man.Columns() // a ranking has none
	if len(r.Input) != man.columns() || len(r.Output) != man.outputs() {
		return fmt.Errorf("has %d inputs and %d outputs, the model has %d and %d",
			len(r.Input), len(r.Output), man.columns(), man.outputs())
	}
	r.row.Numbers = make([]float64, len(r.Input))
	for k, v := range r.Input {
		if k >= len(columns) || !isWord(columns[k]) {
			if r.row.Numbers[k], err = strconv.ParseFloat(string(v), 64); err != nil {
				return fmt.Errorf("column %d is %s: want a number", k, v)
			}
			continue
		}
		if r.row.Words == nil {
			r.row.Words = make([]string, len(r.Input))
		}
		if err := json.Unmarshal(v, &r.row.Words[k]); err != nil {
			return fmt.Errorf("column %d (%s) is %s: want a string", k, columns[k], v)
		}
	}
	return nil
}

// checkGolden scores every golden row and compares.
func (m *Model) checkGolden(g *goldenFile) error {
	y := make([]float64, m.outputs)
	m.unit = true
	for i := range g.Rows {
		row := &g.Rows[i]
		if err := m.Score(row.row, y); err != nil {
			return fmt.Errorf("row %d: %w", i, err)
		}
		m.unit = m.unit && y[0] >= 0 && y[0] <= 1
		for k, want := range row.Output {
			if !near(y[k], want, scoreTolerance*max(1, math.Abs(want))) {
				return fmt.Errorf("row %d: output %d is %g here, was %g when the model was trained", i, k, y[k], want)
			}
		}
	}
	return nil
}

// near is false for a NaN on either side.
func near(a, b, tolerance float64) bool { return math.Abs(a-b) <= tolerance }
