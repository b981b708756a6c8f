package model

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pitboss/internal/event"
)

// Every benchmark rotates over many rows: one repeated row would sit in the
// branch predictor and make trees look three times faster.
const benchRows = 1024

func benchModel(b *testing.B) (*Model, [][]float64) {
	b.Helper()
	return load(b, newMade("leave", "v1", 1, 200, 6, 40)), rows(1, benchRows, 40)
}

// BenchmarkModel is one call of 200 complete trees of depth 6 over 40 columns,
// and one of leave v1, 200 trees of depth 6 as they were learnt.
func BenchmarkModel(b *testing.B) {
	b.Run("complete", func(b *testing.B) {
		m, in := benchModel(b)
		benchCalls(b, m, in)
	})
	b.Run("leave", func(b *testing.B) {
		m, golden := shipped(b, "../../models/leave/v1")
		benchCalls(b, m, crossed(golden))
	})
}

// crossed is benchRows rows, each column of each from another golden row: as
// many as do not fit a branch predictor, and at no fewer leaves.
func crossed(golden [][]float64) [][]float64 {
	rnd := rand.New(rand.NewPCG(1, 2))
	in := make([][]float64, benchRows)
	for i := range in {
		in[i] = make([]float64, len(golden[0]))
		for j := range in[i] {
			in[i][j] = golden[rnd.IntN(len(golden))][j]
		}
	}
	return in
}

func benchCalls(b *testing.B, m *Model, in [][]float64) {
	y := make([]float64, 1)
	b.ReportAllocs()
	took := make([]time.Duration, 0, 1<<20)
	i := 0
	for b.Loop() {
		start := time.Now()
		if err := m.Score(Row{Numbers: in[i%benchRows]}, y); err != nil {
			b.Fatal(err)
		}
		if len(took) < cap(took) {
			took = append(took, time.Since(start))
		}
		i++
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds()), "p50-ns")
	b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds()), "p99-ns")
}

// shipped loads a model of the models folder, with its golden rows.
func shipped(b *testing.B, dir string) (*Model, [][]float64) {
	b.Helper()
	openRuntime(b)
	m, err := LoadModel(dir, LoadOptions{})
	if err != nil {
		b.Fatal(err)
	}
	golden, err := readGolden(filepath.Join(dir, m.Manifest.Golden), m.Manifest)
	if err != nil {
		b.Fatal(err)
	}
	var in [][]float64
	for _, row := range golden.Rows {
		in = append(in, row.row.Numbers)
	}
	return m, in
}

// BenchmarkModelBatch is per row, in calls of 64 rows.
func BenchmarkModelBatch(b *testing.B) {
	m, in := benchModel(b)
	batch := slices.Concat(in...)
	y := make([]float64, benchRows)
	b.ReportAllocs()
	for b.Loop() {
		if err := m.ScoreBatch(batch, y); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*benchRows), "ns/row")
}

// BenchmarkExplain is one explanation against a random reference: 200 complete
// trees of depth 6 over 40 columns, and the models that are shipped.
func BenchmarkExplain(b *testing.B) {
	b.Run("depth=6", func(b *testing.B) {
		m := newMade("leave", "v1", 1, 200, 6, 40)
		e, err := newExplainer(&ensemble{trees: m.trees}, nil, rows(2, 1, 40)[0])
		if err != nil {
			b.Fatal(err)
		}
		benchExplain(b, e, rows(1, benchRows, 40))
	})
	for name, dir := range map[string]string{"leave": "../../models/leave/v1", "harm": "../../models/harm/v3"} {
		b.Run(name, func(b *testing.B) {
			m, in := shipped(b, dir)
			benchExplain(b, m.trees, in)
		})
	}
}

func benchExplain(b *testing.B, e *explainer, in [][]float64) {
	phi, decided := make([]float64, len(in[0])), make([]uint8, len(in[0]))
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		clear(phi)
		e.explain(in[i%len(in)], phi, decided)
		i++
	}
}

// BenchmarkScorePlayer is a whole event: parsing 48 features, two live models
// of 40 columns, each explained.
func BenchmarkScorePlayer(b *testing.B) {
	root := b.TempDir()
	newMade("leave", "v1", 1, 200, 5, 40).write(b, root)
	newMade("harm", "v1", 2, 200, 5, 40).write(b, root)
	r := mustServe(b, root, "leave: {live: v1}\nharm: {live: v1}\n")
	in := make([]*event.PlayerUpdated, benchRows)
	for i, x := range rows(1, benchRows, 48) {
		in[i] = updated(featuresOf(x, 0))
	}
	for _, reasons := range []int{0, 5} {
		b.Run(fmt.Sprintf("reasons=%d", reasons), func(b *testing.B) {
			s := NewScorer(r, reasons)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				var out event.PlayerScored
				if err := s.Score(in[i%benchRows], &out); err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
	}
}

// BenchmarkLoad is a model from its files to its first score.
func BenchmarkLoad(b *testing.B) {
	openRuntime(b)
	dir := newMade("leave", "v1", 1, 200, 5, 40).write(b, b.TempDir())
	for b.Loop() {
		m, err := LoadModel(dir, LoadOptions{})
		if err != nil {
			b.Fatal(err)
		}
		if err := m.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
