package model

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"google.golang.org/protobuf/encoding/protowire"
)

// Models made in Go for the tests: a tree ensemble of any size, written as the
// ONNX file that models/train would write.

// openRuntime makes ONNX Runtime available or fails the test.
func openRuntime(t testing.TB) {
	t.Helper()
	if err := OpenRuntime(Library(os.Getenv("ONNXRUNTIME_LIB"))); err != nil {
		if err == ErrNoRuntime {
			t.Skip(err)
		}
		t.Fatal(err)
	}
}

// madeTree grows a complete random tree over columns uniform in [0, 1).
func madeTree(rng *rand.Rand, depth, columns int) tree {
	var t tree
	var grow func(depth int) int
	grow = func(depth int) int {
		at := len(t.nodes)
		t.nodes = append(t.nodes, treeNode{})
		if depth == 0 {
			t.nodes[at].leaf = true
			t.nodes[at].value = float64(float32(rng.NormFloat64() / 10))
			return at
		}
		yes, no := grow(depth-1), grow(depth-1)
		n := &t.nodes[at]
		n.feature, n.threshold, n.yes, n.no = rng.IntN(columns), float64(float32(0.1+0.8*rng.Float64())), yes, no
		return at
	}
	grow(depth)
	return t
}

func (t *tree) eval(x []float64) float64 {
	i := 0
	for !t.nodes[i].leaf {
		n := &t.nodes[i]
		if x[n.feature] <= n.threshold {
			i = n.yes
		} else {
			i = n.no
		}
	}
	return t.nodes[i].value
}

// made is a model in the making.
type made struct {
	name, version string
	columns       int
	trees         []tree
	features      []string
	opset         uint64
	outName       string
	output        string // what the score is called; default the model's name
	domain        string // YAML
	log           bool   // the score is the logarithm of the only input: -Inf at 0, NaN below
}

func newMade(name, version string, seed uint64, trees, depth, columns int) *made {
	m := &made{name: name, version: version, columns: columns, opset: 17, outName: "probability"}
	rng := rand.New(rand.NewPCG(seed, 1))
	for range trees {
		m.trees = append(m.trees, madeTree(rng, depth, columns))
	}
	for i := range columns {
		m.features = append(m.features, fmt.Sprintf("f%d", i))
	}
	return m
}

func (m *made) margin(x []float64) (sum float64) {
	for i := range m.trees {
		sum += m.trees[i].eval(x)
	}
	return sum
}

func (m *made) probability(x []float64) float64 {
	if m.log {
		return math.Log(x[0])
	}
	return 1 / (1 + math.Exp(-m.margin(x)))
}

func rows(seed uint64, n, columns int) [][]float64 {
	rng := rand.New(rand.NewPCG(seed, 2))
	out := make([][]float64, n)
	for i := range out {
		out[i] = make([]float64, columns)
		for k := range out[i] {
			out[i][k] = float64(rng.Float32())
		}
	}
	return out
}

// write lays the model's three files under root and returns its folder.
func (m *made) write(t testing.TB, root string) string {
	t.Helper()
	dir := filepath.Join(root, m.name, m.version)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	var golden goldenFile
	for _, x := range rows(99, 8, m.columns) {
		row := goldenRow{Output: []float64{m.probability(x)}}
		for _, v := range x {
			row.Input = append(row.Input, strconv.AppendFloat(nil, v, 'g', -1, 64))
		}
		golden.Rows = append(golden.Rows, row)
	}
	body, err := json.Marshal(golden)
	if err != nil {
		t.Fatal(err)
	}
	onnx := m.onnx()
	put(t, filepath.Join(dir, "golden.json"), body)
	put(t, filepath.Join(dir, "model.onnx"), onnx)
	put(t, filepath.Join(dir, "model.yaml"), []byte(m.yaml(onnx)))
	return dir
}

func (m *made) yaml(onnx []byte) string {
	var b strings.Builder
	fmt.Fprintf(&b, "name: %s\nversion: %s\nkind: probability\noutput: %s\nsha256: \"%x\"\n", m.name, m.version, cmp.Or(m.output, m.name), sha256.Sum256(onnx))
	fmt.Fprintf(&b, "input: features\noutput_tensor: probability\nfeatures: [%s]\n", strings.Join(m.features, ", "))
	fmt.Fprintf(&b, "reference: [0%s]\n", strings.Repeat(", 0", len(m.features)-1))
	b.WriteString("trained: {on: [made], rows: 1, with: go, seed: 1}\nmetrics: {auc: 0.5}\nthresholds: {high: 0.5}\n")
	if m.domain != "" {
		fmt.Fprintf(&b, "domain: %s\n", m.domain)
	}
	fmt.Fprintf(&b, "histograms:\n  %s: {edges: [0.25, 0.5, 0.75], shares: [0.25, 0.25, 0.25, 0.25]}\n", m.features[0])
	return b.String()
}

func put(t testing.TB, path string, body []byte) {
	t.Helper()
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, body, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(tmp, path); err != nil {
		t.Fatal(err)
	}
}

// message appends a length-delimited field.
func message(b []byte, num protowire.Number, body []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), body)
}

func number(b []byte, num protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), v)
}

// onnx writes the model as models/train/export.py does.
func (m *made) onnx() []byte {
	var graph []byte
	if m.log {
		graph = message(graph, 1, message(message(message(nil, 1, []byte("features")), 2, []byte(m.outName)), 4, []byte("Log")))
		return m.finish(graph)
	}
	graph = message(graph, 1, m.ensemble())
	sigmoid := message(message(message(nil, 1, []byte("margin")), 2, []byte(m.outName)), 4, []byte("Sigmoid"))
	return m.finish(message(graph, 1, sigmoid))
}

// finish adds the graph's shapes and makes the file.
func (m *made) finish(graph []byte) []byte {
	graph = message(graph, 2, []byte("g"))
	graph = message(graph, 11, tensorInfoBytes("features", m.columns))
	graph = message(graph, 12, tensorInfoBytes(m.outName, 1))
	model := number(nil, 1, 9)
	model = message(model, 7, graph)
	model = message(model, 8, number(message(nil, 1, nil), 2, m.opset))
	return message(model, 8, number(message(nil, 1, []byte("ai.onnx.ml")), 2, 3))
}

func tensorInfoBytes(name string, width int) []byte {
	shape := message(nil, 1, message(nil, 2, []byte("N")))
	shape = message(shape, 1, number(nil, 1, uint64(width)))
	tensor := message(number(nil, 1, 1), 2, shape)
	return message(message(nil, 1, []byte(name)), 2, message(nil, 1, tensor))
}

func (m *made) ensemble() []byte {
	ints, floats := map[string][]int64{}, map[string][]float32{}
	var modes []string
	for t, tr := range m.trees {
		for i, n := range tr.nodes {
			ints["nodes_treeids"] = append(ints["nodes_treeids"], int64(t))
			ints["nodes_nodeids"] = append(ints["nodes_nodeids"], int64(i))
			ints["nodes_featureids"] = append(ints["nodes_featureids"], int64(n.feature))
			ints["nodes_truenodeids"] = append(ints["nodes_truenodeids"], int64(n.yes))
			ints["nodes_falsenodeids"] = append(ints["nodes_falsenodeids"], int64(n.no))
			floats["nodes_values"] = append(floats["nodes_values"], float32(n.threshold))
			mode := "BRANCH_LEQ"
			if n.leaf {
				mode = "LEAF"
				ints["target_treeids"] = append(ints["target_treeids"], int64(t))
				ints["target_nodeids"] = append(ints["target_nodeids"], int64(i))
				ints["target_ids"] = append(ints["target_ids"], 0)
				floats["target_weights"] = append(floats["target_weights"], float32(n.value))
			}
			modes = append(modes, mode)
		}
	}
	n := message(message(nil, 1, []byte("features")), 2, []byte("margin"))
	n = message(message(n, 4, []byte("TreeEnsembleRegressor")), 7, []byte("ai.onnx.ml"))
	for name, v := range ints {
		a := number(message(nil, 1, []byte(name)), 20, 7)
		for _, x := range v {
			a = number(a, 8, uint64(x))
		}
		n = message(n, 5, a)
	}
	for name, v := range floats {
		a := number(message(nil, 1, []byte(name)), 20, 6)
		for _, x := range v {
			a = protowire.AppendFixed32(protowire.AppendTag(a, 7, protowire.Fixed32Type), math.Float32bits(x))
		}
		n = message(n, 5, a)
	}
	a := number(message(nil, 1, []byte("nodes_modes")), 20, 8)
	for _, s := range modes {
		a = message(a, 9, []byte(s))
	}
	n = message(n, 5, a)
	return message(n, 5, number(number(message(nil, 1, []byte("n_targets")), 20, 2), 3, 1))
}
