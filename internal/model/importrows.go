package model

import (
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// The reference player, the histograms and the golden rows of an imported model are
// computed from its training rows.

const (
	histogramBins = 10
	importedRows  = 64 // golden rows
)

// table is a CSV file of training rows.
type table struct {
	columns  []string // without the expected scores
	at       map[string]int
	rows     [][]string
	expected int // column of the exporter's scores; -1: none
}

// rows reads the training rows, or asks for them.
func (im *importer) rows() error {
	if im.a.Rows == "" {
		im.ask("--rows FILE.csv: training rows, with a header that names the columns: the reference player whom explanations compare with (medians), the histograms that drift is measured against, and the golden rows are taken from them")
		return nil
	}
	file, err := os.Open(im.a.Rows)
	if err != nil {
		return err
	}
	defer file.Close()
	lines, err := csv.NewReader(file).ReadAll()
	if err != nil || len(lines) < 2 {
		return fmt.Errorf("%s: want a header and at least one row (%w)", im.a.Rows, err)
	}
	t := &table{at: map[string]int{}, rows: lines[1:], expected: -1}
	for i, name := range lines[0] {
		if t.at[name] = i; name != im.a.Expected {
			t.columns = append(t.columns, name)
		} else {
			t.expected = i
		}
	}
	if im.a.Expected != "" && t.expected < 0 {
		return fmt.Errorf("%s: has no column %q", im.a.Rows, im.a.Expected)
	}
	im.table = t
	im.man.Trained.On, im.man.Trained.Rows = []string{filepath.Base(im.a.Rows)}, len(t.rows)
	return nil
}

// fromRows computes the reference and the histograms from the training rows.
func (im *importer) fromRows(columns []string) {
	if im.table == nil {
		return
	}
	im.man.Histograms = map[string]Histogram{}
	for _, c := range columns {
		values, words, err := im.table.column(c)
		switch {
		case err != nil:
			im.ask("--rows FILE.csv: %v", err)
		case isWord(c):
			if im.man.Words == nil {
				im.man.Words = map[string]string{}
			}
			im.man.Words[c] = mode(words)
			im.man.Reference = append(im.man.Reference, 0)
		default:
			slices.Sort(values)
			im.man.Reference = append(im.man.Reference, float64(float32(values[len(values)/2])))
			if h, ok := histogramOf(values); ok {
				im.man.Histograms[c] = h
			}
		}
	}
}

// column returns a column's numbers or words.
func (t *table) column(name string) (values []float64, words []string, err error) {
	at, ok := t.at[name]
	if !ok {
		return nil, nil, fmt.Errorf("the rows have no column %q", name)
	}
	for i, row := range t.rows {
		if isWord(name) {
			words = append(words, row[at])
			continue
		}
		v, err := strconv.ParseFloat(row[at], 64)
		if err != nil {
			return nil, nil, fmt.Errorf("row %d: %s is %q, want a number", i+2, name, row[at])
		}
		values = append(values, v)
	}
	return values, words, nil
}

// mode returns the most frequent word. Of equals the first by name wins.
func mode(words []string) (most string) {
	count := map[string]int{}
	for _, w := range words {
		count[w]++
	}
	for w, n := range count {
		if n > count[most] || n == count[most] && w < most {
			most = w
		}
	}
	return most
}

// histogramOf bins sorted values at their quantiles. ok is false for a constant.
func histogramOf(sorted []float64) (h Histogram, ok bool) {
	n := len(sorted)
	for b := 1; b < histogramBins; b++ {
		if e := float64(float32(sorted[b*(n-1)/histogramBins])); e < sorted[n-1] && (len(h.Edges) == 0 || e > h.Edges[len(h.Edges)-1]) {
			h.Edges = append(h.Edges, e)
		}
	}
	h.Shares = make([]float64, len(h.Edges)+1)
	for _, v := range sorted {
		bin, _ := slices.BinarySearch(h.Edges, v)
		h.Shares[bin] += 1 / float64(n)
	}
	return h, len(h.Edges) > 0
}

// golden returns golden.json: rows of the training set with the exporter's scores if the
// table has them, else with the scores that ONNX Runtime gives here. In the latter case
// the file protects against later changes, but not against a mistake of the export.
func (im *importer) golden(data []byte) ([]byte, error) {
	w, err := wire(im.g, im.man)
	if err != nil {
		return nil, err
	}
	m, err := newModel(im.man, im.g, w, data, LoadOptions{Slots: 1})
	if err != nil {
		return nil, err
	}
	defer m.Close()
	columns := im.man.Columns()
	var golden goldenFile
	for i := 0; i < len(im.table.rows); i += max(1, len(im.table.rows)/importedRows) {
		cells := im.table.rows[i]
		row := goldenRow{Output: make([]float64, m.outputs)}
		for _, c := range columns {
			var cell any = cells[im.table.at[c]]
			if !isWord(c) {
				if cell, err = strconv.ParseFloat(cells[im.table.at[c]], 64); err != nil {
					return nil, fmt.Errorf("row %d: %s: %w", i+2, c, err)
				}
			}
			text, err := json.Marshal(cell)
			if err != nil {
				return nil, fmt.Errorf("row %d: %s: %w", i+2, c, err)
			}
			row.Input = append(row.Input, text)
		}
		if err := row.parse(im.man); err != nil {
			return nil, fmt.Errorf("row %d: %w", i+2, err)
		}
		if err := m.Score(row.row, row.Output); err != nil {
			return nil, fmt.Errorf("row %d: %w", i+2, err)
		}
		if im.table.expected >= 0 {
			if row.Output[0], err = strconv.ParseFloat(cells[im.table.expected], 64); err != nil {
				return nil, fmt.Errorf("row %d: %s: %w", i+2, im.a.Expected, err)
			}
		}
		golden.Rows = append(golden.Rows, row)
	}
	return json.Marshal(golden, jsontext.Multiline(true))
}
