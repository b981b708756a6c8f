package model

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func load(t testing.TB, m *made) *Model {
	t.Helper()
	openRuntime(t)
	model, err := LoadModel(m.write(t, t.TempDir()), LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := model.Close(); err != nil {
			t.Error(err)
		}
	})
	return model
}

func TestModelScoresAsItsTreesDo(t *testing.T) {
	t.Parallel()
	m := newMade("leave", "v1", 1, 50, 6, 12)
	model := load(t, m)
	var wg sync.WaitGroup
	for seed := range uint64(8) {
		wg.Go(func() {
			y := make([]float64, 1)
			for _, x := range rows(seed, 200, 12) {
				if err := model.Score(Row{Numbers: x}, y); err != nil {
					t.Error(err)
				} else if want := m.probability(x); !near(y[0], want, scoreTolerance) {
					t.Errorf("score %v, want %v", y[0], want)
				}
			}
		})
	}
	wg.Wait()
}

func TestModelScoresABatchAsItScoresRows(t *testing.T) {
	t.Parallel()
	m := newMade("leave", "v1", 2, 20, 4, 5)
	model := load(t, m)
	for _, n := range []int{0, 1, batchRows - 1, batchRows, batchRows + 1, 5 * batchRows} {
		var x []float64
		for _, r := range rows(uint64(n), n, 5) {
			x = append(x, r...)
		}
		y := make([]float64, n)
		if err := model.ScoreBatch(x, y); err != nil {
			t.Fatal(err)
		}
		for i := range n {
			if want := m.probability(x[i*5 : i*5+5]); !near(y[i], want, scoreTolerance) {
				t.Fatalf("row %d of %d: %v, want %v", i, n, y[i], want)
			}
		}
	}
}

func TestModelRefusesInputsThatAreNotFinite(t *testing.T) {
	t.Parallel()
	model := load(t, newMade("leave", "v1", 3, 5, 3, 4))
	y := make([]float64, 1)
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), 1e39} {
		x := []float64{0, 0, bad, 0}
		if err := model.Score(Row{Numbers: x}, y); !errors.Is(err, ErrNotFinite) || !strings.Contains(err.Error(), "f2") {
			t.Errorf("%v: error %v, want one that names f2", bad, err)
		}
		if err := model.ScoreBatch(append(make([]float64, 4), x...), make([]float64, 2)); !errors.Is(err, ErrNotFinite) || !strings.Contains(err.Error(), "row 1") {
			t.Errorf("%v in a batch: error %v, want one that names row 1", bad, err)
		}
	}
	for _, x := range [][]float64{{}, {1, 2, 3}, {1, 2, 3, 4, 5}} {
		if err := model.Score(Row{Numbers: x}, y); err == nil {
			t.Errorf("a row of %d columns was scored", len(x))
		}
	}
}

func TestModelCallAllocatesNothing(t *testing.T) {
	m := newMade("leave", "v1", 4, 20, 4, 8)
	model := load(t, m)
	in, y := rows(1, 64, 8), make([]float64, 1)
	var ex Explanation
	i := 0
	if n := testing.AllocsPerRun(200, func() {
		if err := model.Score(Row{Numbers: in[i%64]}, y); err != nil {
			t.Fatal(err)
		}
		if ok, err := model.Explain(Row{Numbers: in[i%64]}, &ex); !ok || err != nil {
			t.Fatal(ok, err)
		}
		model.drift.observe(in[i%64])
		i++
	}); n != 0 {
		t.Errorf("a call allocates %v times", n)
	}
	batch, out := make([]float64, 100*8), make([]float64, 100)
	if n := testing.AllocsPerRun(50, func() {
		if err := model.ScoreBatch(batch, out); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("a batch call allocates %v times", n)
	}
}

// edit rewrites a file of the model.
func edit(t *testing.T, dir, file string, fn func(string) string) {
	t.Helper()
	path := filepath.Join(dir, file)
	body, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	next := fn(string(body))
	if next == string(body) {
		t.Fatalf("the edit of %s changed nothing", file)
	}
	put(t, path, []byte(next))
}

func replace(old, next string) func(string) string {
	return func(s string) string { return strings.Replace(s, old, next, 1) }
}

func TestLoadRefusesABadModelAndNamesTheFile(t *testing.T) {
	t.Parallel()
	openRuntime(t)
	for _, tc := range []struct {
		what, file, says string
		spoil            func(t *testing.T, dir string)
	}{
		{"no manifest", "model.yaml", "no such file", func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, "model.yaml")); err != nil {
				t.Fatal(err)
			}
		}},
		{"a manifest that is no YAML", "model.yaml", "", func(t *testing.T, dir string) {
			put(t, filepath.Join(dir, "model.yaml"), []byte("name: [leave\n"))
		}},
		{"a field nobody knows", "model.yaml", "threshhold", func(t *testing.T, dir string) {
			edit(t, dir, "model.yaml", func(s string) string { return s + "threshhold: 1\n" })
		}},
		{"another folder", "model.yaml", "is in the folder", func(t *testing.T, dir string) {
			edit(t, dir, "model.yaml", replace("version: v1", "version: v2"))
		}},
		{"an unknown feature", "model.yaml", `unknown feature "g0"`, func(t *testing.T, dir string) {
			edit(t, dir, "model.yaml", replace("[f0, f1", "[g0, f1"))
		}},
		{"a reference of another width", "model.yaml", "reference must have one value per feature", func(t *testing.T, dir string) {
			edit(t, dir, "model.yaml", replace("reference: [0, ", "reference: ["))
		}},
		{"a reference that is no number", "model.yaml", "reference[0] (f0)", func(t *testing.T, dir string) {
			edit(t, dir, "model.yaml", replace("reference: [0, ", "reference: [.nan, "))
		}},
		{"a reference beyond a 32-bit float", "model.yaml", "reference[0] (f0)", func(t *testing.T, dir string) {
			edit(t, dir, "model.yaml", replace("reference: [0, ", "reference: [1e39, "))
		}},
		{"a feature twice", "model.yaml", "listed twice", func(t *testing.T, dir string) {
			edit(t, dir, "model.yaml", replace("[f0, f1", "[f0, f0"))
		}},
		{"a histogram that sums to more than one", "model.yaml", "sum to 1", func(t *testing.T, dir string) {
			edit(t, dir, "model.yaml", replace("[0.25, 0.25,", "[0.95, 0.25,"))
		}},
		{"too few columns", "model.onnx", "must be float32 [N, 3] to take", func(t *testing.T, dir string) {
			edit(t, dir, "model.yaml", replace(", f3]", "]"))
			edit(t, dir, "model.yaml", replace("reference: [0, ", "reference: ["))
		}},
		{"another input name", "model.onnx", `model.yaml says "x", but the file's inputs are features`, func(t *testing.T, dir string) {
			edit(t, dir, "model.yaml", replace("input: features", "input: x"))
		}},
		{"another output name", "model.onnx", `no output "y"`, func(t *testing.T, dir string) {
			edit(t, dir, "model.yaml", replace("output_tensor: probability", "output_tensor: y"))
		}},
		{"another hash", "model.onnx", "sha256", func(t *testing.T, dir string) {
			edit(t, dir, "model.yaml", func(s string) string {
				i := strings.Index(s, `sha256: "`) + len(`sha256: "`)
				return s[:i] + strings.Repeat("0", 64) + s[i+64:]
			})
		}},
		{"a truncated file", "model.onnx", "sha256", func(t *testing.T, dir string) {
			edit(t, dir, "model.onnx", func(s string) string { return s[:len(s)/2] })
		}},
		{"one flipped bit", "model.onnx", "sha256", func(t *testing.T, dir string) {
			edit(t, dir, "model.onnx", func(s string) string { return s[:999] + string(s[999]^1) + s[1000:] })
		}},
		{"no golden vectors", "golden.json", "no such file", func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, "golden.json")); err != nil {
				t.Fatal(err)
			}
		}},
		{"empty golden vectors", "golden.json", "no rows", func(t *testing.T, dir string) {
			put(t, filepath.Join(dir, "golden.json"), []byte(`{"rows":[]}`))
		}},
		{"a golden vector that differs", "golden.json", "was 7.", func(t *testing.T, dir string) {
			edit(t, dir, "golden.json", replace(`"output":[0.`, `"output":[7.`))
		}},
	} {
		t.Run(tc.what, func(t *testing.T) {
			t.Parallel()
			dir := newMade("leave", "v1", 5, 5, 3, 4).write(t, t.TempDir())
			tc.spoil(t, dir)
			known := func(f string) bool { return f[0] == 'f' }
			model, err := LoadModel(dir, LoadOptions{Known: known})
			if err == nil {
				t.Fatalf("loaded: %v", model.Close())
			}
			if msg := err.Error(); !strings.Contains(msg, tc.file) || !strings.Contains(msg, tc.says) {
				t.Errorf("error %q, want one that names %s and says %q", msg, tc.file, tc.says)
			}
		})
	}
}

func TestLoadRefusesAnOperatorSetTheRuntimeLacks(t *testing.T) {
	t.Parallel()
	openRuntime(t)
	m := newMade("leave", "v1", 6, 5, 3, 4)
	m.opset = 99
	_, err := LoadModel(m.write(t, t.TempDir()), LoadOptions{})
	if err == nil || !strings.Contains(err.Error(), "model.onnx") || !strings.Contains(err.Error(), "99") {
		t.Errorf("error %v, want one that names model.onnx and operator set 99", err)
	}
}

func TestLoadRefusesAGraphThatIsNotONNX(t *testing.T) {
	t.Parallel()
	openRuntime(t)
	m := newMade("leave", "v1", 6, 5, 3, 4)
	whole := m.onnx()
	for _, n := range []int{0, 1, 10, 100, len(whole) / 2, len(whole) - 1} {
		dir := m.write(t, t.TempDir())
		cut := whole[:n]
		put(t, filepath.Join(dir, "model.onnx"), cut)
		put(t, filepath.Join(dir, "model.yaml"), []byte(m.yaml(cut))) // the hash is right
		if _, err := LoadModel(dir, LoadOptions{}); err == nil || !strings.Contains(err.Error(), "model.onnx") {
			t.Errorf("%d bytes: error %v, want one that names model.onnx", n, err)
		}
	}
}

func FuzzReadGraph(f *testing.F) {
	f.Add(newMade("leave", "v1", 6, 2, 2, 2).onnx())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		g, err := readGraph(bytes.Clone(data))
		if err != nil {
			return
		}
		ens, err := readTrees(g, 1)
		if err != nil {
			return
		}
		if _, err := newExplainer(ens, nil, make([]float64, 4)); err != nil && err.Error() == "" {
			t.Fatal(fmt.Sprint("an error without a reason: ", err))
		}
	})
}
