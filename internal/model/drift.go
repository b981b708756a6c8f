package model

import (
	"math"
	"sort"
	"sync"
)

// driftWindow is the number of rows in a window. PSI is computed over the previous and
// the current window, hence over one to two of them.
const driftWindow = 5000

// driftFloor is half a row of a window. It keeps an empty bin from making PSI infinite.
const driftFloor = 0.5 / driftWindow

// drift compares the features that a model sees with those that it was trained on, by
// the population stability index of each feature: Σ (seen − trained)·ln(seen/trained)
// over the bins of the training histogram. Below 0.1 the distribution is stable, above
// 0.25 it has changed (Siddiqi, Credit Risk Scorecards, 2006).
type drift struct {
	columns []driftColumn // the columns that have a histogram
	mu      sync.Mutex
	rows    [2]int // previous and current window
	counts  [2][]uint32
}

type driftColumn struct {
	column   int
	feature  string
	edges    []float64
	expected []float64
	first    int // index of its first bin in counts
}

func newDrift(m *Manifest) *drift {
	d := &drift{}
	bins := 0
	for i, f := range m.Columns() {
		h, ok := m.Histograms[f]
		if !ok {
			continue
		}
		c := driftColumn{column: i, feature: f, expected: h.Shares, first: bins}
		for _, e := range h.Edges {
			c.edges = append(c.edges, float64(float32(e)))
		}
		d.columns = append(d.columns, c)
		bins += len(h.Shares)
	}
	for i := range d.counts {
		d.counts[i] = make([]uint32, bins)
	}
	return d
}

// observe counts one row. It allocates nothing.
func (d *drift) observe(x []float64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.rows[1] == driftWindow {
		d.counts[0], d.counts[1] = d.counts[1], d.counts[0]
		clear(d.counts[1])
		d.rows[0], d.rows[1] = d.rows[1], 0
	}
	d.rows[1]++
	for i := range d.columns {
		c := &d.columns[i]
		v := x[c.column]
		bin := sort.Search(len(c.edges), func(k int) bool { return v <= c.edges[k] })
		d.counts[1][c.first+bin]++
	}
}

// psi calls fn with each feature's index. Before the first full window it calls nothing.
func (d *drift) psi(fn func(feature string, psi float64)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	rows := d.rows[0] + d.rows[1]
	if rows < driftWindow {
		return
	}
	for _, c := range d.columns {
		sum := 0.0
		for k, want := range c.expected {
			seen := float64(d.counts[0][c.first+k]+d.counts[1][c.first+k]) / float64(rows)
			seen, want = max(seen, driftFloor), max(want, driftFloor)
			sum += (seen - want) * math.Log(seen/want)
		}
		fn(c.feature, sum)
	}
}
