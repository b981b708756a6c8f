package model

import (
	"encoding/csv"
	"fmt"
	"math"
	"math/bits"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// exported is a model as some exporter wrote it, with what Python's ONNX
// Runtime says of it: models/train/fixtures.py.
type exported struct {
	Name     string             `json:"name"`
	Columns  []string           `json:"columns"`
	Output   string             `json:"output"`
	Manifest map[string]any     `json:"manifest"`
	Rows     [][]jsontext.Value `json:"rows"`
	Scores   []float64          `json:"scores"`
}

const fixtures = "testdata/onnx"

func exports(t *testing.T) (out []*exported) {
	t.Helper()
	body, err := os.ReadFile(filepath.Join(fixtures, "fixtures.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(body, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func (e *exported) file() string { return filepath.Join(fixtures, e.Name+".onnx") }

func (e *exported) row(t *testing.T, i int) Row {
	t.Helper()
	g := goldenRow{Input: e.Rows[i], Output: []float64{0}}
	man := &Manifest{Kind: KindProbability, Features: e.Columns}
	if err := g.parse(man); err != nil {
		t.Fatal(err)
	}
	return g.row
}

// csv writes the rows with their scores, as a data scientist would.
func (e *exported) csv(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rows.csv")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := csv.NewWriter(file)
	lines := [][]string{append(append([]string{}, e.Columns...), "score")}
	for i, row := range e.Rows {
		var line []string
		for _, v := range row {
			line = append(line, strings.Trim(string(v), `"`))
		}
		lines = append(lines, append(line, fmt.Sprint(e.Scores[i])))
	}
	if err := w.WriteAll(lines); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func (e *exported) answers(t *testing.T) Answers {
	a := Answers{Name: "leave", Version: "v9", Rows: e.csv(t), Expected: "score", Known: func(f string) bool { return !strings.Contains(f, ".") && len(f) > 1 }}
	if c, ok := e.Manifest["output_class"].(string); ok {
		a.Class = c
	}
	if e.Name == "sklearn-words" {
		a.Class = "leaves"
	}
	return a
}

// Every usual exporter's file is imported, scores as it does in Python, and is explained.
func TestImportTakesWhatExportersWrite(t *testing.T) {
	t.Parallel()
	openRuntime(t)
	for _, e := range exports(t) {
		t.Run(e.Name, func(t *testing.T) {
			t.Parallel()
			m, questions, err := Import(e.file(), t.TempDir(), e.answers(t))
			if err != nil || len(questions) > 0 {
				t.Fatalf("%v %q", err, questions)
			}
			defer m.Close()
			t.Log(m.Explained)
			if exact := treesOnly(e.Name); exact != strings.HasPrefix(m.Explained, "explained by exact") {
				t.Errorf("trees alone: %v; %s", exact, m.Explained)
			}
			y := make([]float64, 1)
			var ex Explanation
			for i, want := range e.Scores {
				row := e.row(t, i)
				if err := m.Score(row, y); err != nil {
					t.Fatal(err)
				}
				if !near(y[0], want, 1e-6*max(1, math.Abs(want))) {
					t.Errorf("row %d: %v here, %v in Python", i, y[0], want)
				}
				checkSum(t, m, row, y[0], &ex)
			}
			if err := m.Probe(nil); err != nil {
				t.Error(err)
			}
		})
	}
}

func treesOnly(name string) bool {
	switch name {
	case "sklearn-words", "sklearn-boosting", "sklearn-forest-float64":
		return true
	}
	for _, p := range []string{"lightgbm", "xgboost", "catboost", "trees-"} {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}

// checkSum: effects sum to the distance from the reference's score, exact or
// sampled (each order sums to it).
func checkSum(t *testing.T, m *Model, row Row, score float64, ex *Explanation) {
	t.Helper()
	if ok, err := m.Explain(row, ex); !ok || err != nil {
		t.Fatal(ok, err)
	}
	sum := 0.0
	for _, v := range ex.Effects {
		sum += v
	}
	base := unit(m, m.Manifest.reference(), t)
	if got, want := sum, inUnit(m, score)-base; !near(got, want, 2e-3) {
		t.Errorf("effects sum to %v, the score is %v from the reference's", got, want)
	}
}

func inUnit(m *Model, score float64) float64 {
	if strings.Contains(m.Explained, "log-odds") {
		return (&sampler{odds: true}).effect(score)
	}
	return score
}

func unit(m *Model, row Row, t *testing.T) float64 {
	y := make([]float64, 1)
	if err := m.Score(row, y); err != nil {
		t.Fatal(err)
	}
	return inUnit(m, y[0])
}

// Exact effects are Shapley values of the model itself, whatever wrote it; the
// sampled ones are within their stated errors of them.
func TestImportedModelsAreExplainedByDefinition(t *testing.T) {
	t.Parallel()
	openRuntime(t)
	outside, effects := 0, 0
	for _, e := range exports(t) {
		m, questions, err := Import(e.file(), t.TempDir(), e.answers(t))
		if err != nil || len(questions) > 0 {
			t.Fatalf("%v %q", err, questions)
		}
		var ex Explanation
		for i := range 8 {
			row := e.row(t, i)
			if err := m.Score(row, make([]float64, 1)); err != nil {
				t.Fatal(err)
			}
			if ok, err := m.Explain(row, &ex); !ok || err != nil {
				t.Fatal(ok, err)
			}
			for c, want := range definition(t, m, row) {
				if ex.Errors == nil {
					if !near(ex.Effects[c], want, 3e-3*max(1, math.Abs(want))) {
						t.Errorf("%s row %d: effect %d is %v, by definition %v", e.Name, i, c, ex.Effects[c], want)
					}
					continue
				}
				effects++
				if !near(ex.Effects[c], want, 4*ex.Errors[c]+1e-3) {
					outside++
				}
			}
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if effects == 0 || float64(outside) > 0.03*float64(effects) {
		t.Errorf("%d of %d sampled effects are more than 4 standard errors off", outside, effects)
	}
}

// definition is Shapley's, by all subsets of the columns.
func definition(t *testing.T, m *Model, row Row) []float64 {
	t.Helper()
	n := len(row.Numbers)
	value := make([]float64, 1<<n)
	for s := range value {
		r := m.Manifest.reference()
		for i := range n {
			if s&(1<<i) != 0 {
				r.Numbers[i] = row.Numbers[i]
				if r.Words != nil {
					r.Words[i] = row.Words[i]
				}
			}
		}
		value[s] = unit(m, r, t)
	}
	factorial := []float64{1, 1, 2, 6, 24}
	phi := make([]float64, n)
	for i := range phi {
		for s := range value {
			if s&(1<<i) == 0 {
				k := bits.OnesCount(uint(s))
				phi[i] += factorial[k] * factorial[n-1-k] / factorial[n] * (value[s|1<<i] - value[s])
			}
		}
	}
	return phi
}

// An explanation can be repeated to the bit.
func TestSampledExplanationIsRepeatable(t *testing.T) {
	t.Parallel()
	openRuntime(t)
	for _, e := range exports(t) {
		if e.Name != "network-float64" {
			continue
		}
		m, _, err := Import(e.file(), t.TempDir(), e.answers(t))
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		var a, b Explanation
		for i := range e.Rows {
			row := e.row(t, i)
			for _, ex := range []*Explanation{&a, &b} {
				if ok, err := m.Explain(row, ex); !ok || err != nil {
					t.Fatal(ok, err)
				}
			}
			if fmt.Sprint(a.Effects, a.Errors) != fmt.Sprint(b.Effects, b.Errors) {
				t.Fatalf("%v %v\n%v %v", a.Effects, a.Errors, b.Effects, b.Errors)
			}
		}
	}
}

// Without answers, import writes nothing and asks for what the file can't tell.
func TestImportAsksForWhatItCannotKnow(t *testing.T) {
	t.Parallel()
	openRuntime(t)
	all := map[string]*exported{}
	for _, e := range exports(t) {
		all[e.Name] = e
	}
	for name, want := range map[string][]string{
		"sklearn-logistic":     {"--name NAME --version VERSION", "--rows FILE.csv", "--features A,B"},
		"sklearn-words-zipmap": {"--class CLASS: the class whose probability is the score; output \"output_probability\" has one per class (the classes in the file: leaves, stays)"},
		"sklearn-columns":      {"--rows FILE.csv"},
		"network-two-inputs":   {"the 4 columns in the order of training", "a float32 [-1 3]; b float32 [-1 1]"},
	} {
		dir := t.TempDir()
		known := func(f string) bool { return f == "stake" || f == "rounds" }
		m, questions, err := Import(all[name].file(), dir, Answers{Known: known})
		if err != nil || m != nil {
			t.Fatal(err)
		}
		text := strings.Join(questions, "\n")
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("%s asks\n%s\nwant %q", name, text, w)
			}
		}
		if name == "sklearn-columns" && strings.Contains(text, "--features") {
			t.Errorf("%s has named inputs, and is asked for them: %s", name, text)
		}
		if found, err := os.ReadDir(dir); err != nil || len(found) > 0 {
			t.Errorf("%s wrote %v, %v", name, found, err)
		}
	}
}

// What is refused says the line of model.yaml, or the option of the exporter, that mends it.
func TestRefusalSaysTheRemedy(t *testing.T) {
	t.Parallel()
	openRuntime(t)
	for _, tc := range []struct{ fixture, old, next, says string }{
		{"sklearn-logistic", "output_column: 1\n", "", "add `output_column: 1`"},
		{"sklearn-logistic", "output_column: 1", "output_column: 2", "set output_column below 2"},
		{"sklearn-logistic", "output_tensor: probabilities", "output_tensor: score", "set output_tensor to one of label, probabilities"},
		{"sklearn-logistic-zipmap", "output_class: \"1\"\n", "", "add `output_class: CLASS` to model.yaml (the classes in the file: 0, 1)"},
		{"sklearn-logistic-zipmap", "output_class: \"1\"", "output_class: \"7\"", "set output_class to one of 0, 1"},
		{"network-external", "network-external.onnx.data: ", "other: ", "add `data: {network-external.onnx.data: SHA-256}`"},
	} {
		t.Run(tc.says, func(t *testing.T) {
			t.Parallel()
			for _, e := range exports(t) {
				if e.Name != tc.fixture {
					continue
				}
				root := t.TempDir()
				m, questions, err := Import(e.file(), root, e.answers(t))
				if err != nil || len(questions) > 0 {
					t.Fatal(err, questions)
				}
				if err := m.Close(); err != nil {
					t.Fatal(err)
				}
				dir := filepath.Join(root, "leave", "v9")
				edit(t, dir, "model.yaml", func(s string) string { return strings.ReplaceAll(s, tc.old, tc.next) })
				m, err = LoadModel(dir, LoadOptions{})
				if err == nil {
					t.Fatalf("loaded: %v", m.Close())
				}
				if !strings.Contains(err.Error(), tc.says) {
					t.Errorf("error %q, want one that says %q", err, tc.says)
				}
			}
		})
	}
}

func TestWiringSaysTheRemedy(t *testing.T) {
	t.Parallel()
	f := func(name string, elem int64, dims ...int64) valueInfo {
		return valueInfo{name: name, elem: elem, dims: dims, shaped: true}
	}
	g := &graph{inputs: []valueInfo{f("a", elemFloat32, -1, 2), f("b", elemString, -1, 1)}, outputs: []valueInfo{f("y", elemFloat32, -1, 1)}}
	half := &graph{inputs: []valueInfo{f("a", 10, -1, 1)}, outputs: g.outputs}
	in := func(tensor string, columns ...string) Input { return Input{tensor, columns} }
	for says, tc := range map[string]struct {
		g      *graph
		inputs []Input
	}{
		"add `- {tensor: b, columns: [...]}` under inputs":        {g, []Input{in("a", "x", "y")}},
		"give its column one of player.brand":                     {g, []Input{in("a", "x", "y"), in("b", "tier")}},
		"player.tier is a word: give its column a feature's name": {g, []Input{in("a", "x", "player.tier"), in("b", "player.brand")}},
		"list all 2 columns under features":                       {g, []Input{in("a", "x"), in("b", "player.brand")}},
		"model.yaml says \"c\", but the file's inputs are a, b":   {g, []Input{in("a", "x", "y"), in("c", "player.brand")}},
		"export the model with inputs of float32, float64, int32": {half, []Input{in("a", "x")}},
	} {
		_, err := wire(tc.g, &Manifest{Kind: KindProbability, Inputs: tc.inputs, OutputTensor: "y"})
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("error %v, want one that says %q", err, says)
		}
	}
}
