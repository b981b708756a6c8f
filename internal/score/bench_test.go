package score

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pitboss/internal/event"
)

// Every benchmark rotates over many rows: one repeated row would sit in the
// branch predictor and make trees look three times faster.
const benchRows = 1024

func benchModel(b *testing.B) (*Model, [][]float32) {
	b.Helper()
	return load(b, newMade("leave", "v1", 1, 200, 6, 40)), rows(1, benchRows, 40)
}

// BenchmarkModel is one call of 200 complete trees of depth 6 over 40 columns.
func BenchmarkModel(b *testing.B) {
	m, in := benchModel(b)
	y := make([]float32, 1)
	b.ReportAllocs()
	took := make([]time.Duration, 0, 1<<20)
	i := 0
	for b.Loop() {
		start := time.Now()
		if err := m.Score(in[i%benchRows], y); err != nil {
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

// BenchmarkModelBatch is per row, in calls of 64 rows.
func BenchmarkModelBatch(b *testing.B) {
	m, in := benchModel(b)
	batch := slices.Concat(in...)
	y := make([]float32, benchRows)
	b.ReportAllocs()
	for b.Loop() {
		if err := m.ScoreBatch(batch, y); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*benchRows), "ns/row")
}

// BenchmarkExplain is one explanation: 12,800 leaves; and 31 leaves a tree,
// the size of the shipped models.
func BenchmarkExplain(b *testing.B) {
	for _, depth := range []int{5, 6} {
		b.Run(fmt.Sprintf("depth=%d", depth), func(b *testing.B) {
			m := newMade("leave", "v1", 1, 200, depth, 40)
			e, err := newExplainer(m.trees, 0, 40)
			if err != nil {
				b.Fatal(err)
			}
			in, phi := rows(1, benchRows, 40), make([]float64, 40)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				clear(phi)
				e.explain(in[i%benchRows], phi)
				i++
			}
			b.ReportMetric(float64(len(e.table)*8+len(e.conds)*24)/1e6, "MB")
		})
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
