package model

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"
)

// shapley is the definition: the average over all orders, by subsets, of what
// a feature changes when it takes the player's value instead of the reference's.
func shapley(trees []tree, x, ref []float64) []float64 {
	columns := len(x)
	value := make([]float64, 1<<columns)
	for s := range value {
		row := slices.Clone(ref)
		for i := range row {
			if s&(1<<i) != 0 {
				row[i] = x[i]
			}
		}
		for i := range trees {
			value[s] += trees[i].eval(row)
		}
	}
	weight := make([]float64, columns) // s!(n-1-s)!/n!
	for s := range weight {
		a, _ := math.Lgamma(float64(s + 1))
		b, _ := math.Lgamma(float64(columns - s))
		c, _ := math.Lgamma(float64(columns + 1))
		weight[s] = math.Exp(a + b - c)
	}
	phi := make([]float64, columns)
	for i := range phi {
		for s := range value {
			if s&(1<<i) == 0 {
				phi[i] += weight[bits.OnesCount(uint(s))] * (value[s|1<<i] - value[s])
			}
		}
	}
	return phi
}

func TestExplainEqualsTheDefinitionOfShapleyValues(t *testing.T) {
	t.Parallel()
	for seed := range uint64(30) {
		rng := rand.New(rand.NewPCG(seed, 3))
		columns, depth := 1+rng.IntN(8), 1+rng.IntN(6) // few columns: features repeat on a path
		m := newMade("m", "v1", seed, 5, depth, columns)
		ref := rows(seed+1000, 1, columns)[0]
		e, err := newExplainer(&ensemble{trees: m.trees, base: 0.25}, nil, ref)
		if err != nil {
			t.Fatal(err)
		}
		decided := make([]uint8, columns)
		for _, x := range append(rows(seed, 10, columns), ref) {
			phi := make([]float64, columns)
			e.explain(x, phi, decided)
			sum := e.base
			for i, want := range shapley(m.trees, x, ref) {
				if !near(phi[i], want, 1e-9) {
					t.Fatalf("seed %d: contribution %d is %v, by definition %v", seed, i, phi[i], want)
				}
				sum += phi[i]
			}
			if want := m.margin(x) + 0.25; !near(sum, want, 1e-9) {
				t.Fatalf("seed %d: base and contributions sum to %v, the margin is %v", seed, sum, want)
			}
			if slices.Max(decided) != nobody {
				t.Fatalf("seed %d: %v is left behind", seed, decided)
			}
		}
	}
}

func TestExplainReadsTheTreesOfTheONNXFile(t *testing.T) {
	t.Parallel()
	m := newMade("m", "v1", 7, 30, 5, 6)
	g, err := readGraph(m.onnx())
	if err != nil {
		t.Fatal(err)
	}
	ens, err := readTrees(g, 0)
	if err != nil || ens.base != 0 || len(ens.trees) != 30 {
		t.Fatalf("%+v, %v", ens, err)
	}
	trees := ens.trees
	for _, x := range rows(5, 50, 6) {
		sum := 0.0
		for i := range trees {
			sum += trees[i].eval(x)
		}
		if !near(sum, m.margin(x), 1e-6) {
			t.Fatalf("trees read from the file give %v, want %v", sum, m.margin(x))
		}
	}
}

func TestExplainRefusesWhatItWouldGetWrong(t *testing.T) {
	t.Parallel()
	m := newMade("m", "v1", 7, 1, 2, 2)
	for name, spoil := range map[string]func(g *graph){
		"several ensembles": func(g *graph) { g.nodes = append(g.nodes, g.nodes[0]) },
		"two targets":       func(g *graph) { g.nodes[0].attrs["n_targets"] = attribute{i: 2} },
		"a minimum":         func(g *graph) { g.nodes[0].attrs["aggregate_function"] = attribute{s: "MIN"} },
		"another split":     func(g *graph) { g.nodes[0].attrs["nodes_modes"].strings[0] = "BRANCH_MEMBER" },
		"a missing child":   func(g *graph) { g.nodes[0].attrs["nodes_truenodeids"].ints[0] = 77 },
	} {
		g, err := readGraph(m.onnx())
		if err != nil {
			t.Fatal(err)
		}
		spoil(g)
		if _, err := readTrees(g, 0); err == nil {
			t.Errorf("%s: explained all the same", name)
		}
	}
	for name, wrong := range map[string]tree{
		"a circle":           {nodes: []treeNode{{yes: 0, no: 0}}},
		"a column too many":  {nodes: []treeNode{{feature: 2, yes: 1, no: 2}, {leaf: true}, {leaf: true}}},
		"a tree of no nodes": {},
	} {
		if _, err := newExplainer(&ensemble{trees: []tree{wrong}}, nil, make([]float64, 2)); err == nil {
			t.Errorf("%s: explained all the same", name)
		}
	}
}
