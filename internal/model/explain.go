package model

import (
	"fmt"
	"math"
)

// explainer computes how far each feature moved a player's score away from
// that of the reference, a player with the training set's median in every
// feature: exact Shapley values of the game in which the features of a coalition
// have the player's values and the others the reference's (baseline Shapley
// values; interventional TreeSHAP with one background row: Lundberg et al.,
// Nature Machine Intelligence 2020, doi 10.1038/s42256-019-0138-9). In
// log-odds; base and contributions sum to the model's margin.
//
// A tree is walked once. Where the player and the reference take the same
// branch, only that one is followed; where they part, both are, and the feature
// is remembered as decided by the player or by the reference. A leaf of value v
// that takes p features from the player and n from the reference gives each of
// the p v·(p−1)!n!/(p+n)! and each of the n −v·p!(n−1)!/(p+n)!. So the cost is
// that of the few nodes where the two differ, a tenth of what explaining
// against the whole training set costs. Benchmark: BenchmarkExplain.
type explainer struct {
	base    float64 // the reference's margin
	nodes   []explainNode
	roots   []int32
	weights [][]float64 // [p][n]: p!n!/(p+n+1)!
}

// explainNode is a split or a leaf in 16 bytes: an explanation waits for memory
// more than for anything else. The node of the reference's branch comes next.
type explainNode struct {
	number  float64 // the threshold, or a leaf's value
	other   int32   // the node of the branch that the reference does not take
	feature int16   // -1: a leaf
	equal   bool    // x = threshold goes yes, else x ≤ threshold
	refYes  bool    // the reference goes yes
}

// maxTreeDepth bounds the depth of a tree that is explained.
const maxTreeDepth = 64

// newExplainer prepares an explanation against reference, one value per column.
// columns says which column of the row each of the trees' features is; nil: the
// same.
func newExplainer(ens *ensemble, columns []int, reference []float64) (*explainer, error) {
	e := &explainer{base: ens.base}
	deepest := 0
	for t := range ens.trees {
		root := int32(len(e.nodes))
		e.roots = append(e.roots, root)
		b := explainBuilder{e, &ens.trees[t], int(root), columns, reference}
		depth, err := b.add(0, 0)
		if err != nil {
			return nil, fmt.Errorf("tree %d: %w", t, err)
		}
		deepest = max(deepest, depth)
		i := root
		for e.nodes[i].feature >= 0 {
			i++
		}
		e.base += e.nodes[i].number
	}
	e.weights = shapleyWeights(deepest)
	return e, nil
}

// explainBuilder lays out one tree.
type explainBuilder struct {
	*explainer
	tree      *tree
	root      int // of the tree in nodes
	columns   []int
	reference []float64
}

// add appends node i and what is below it, and returns the depth of its deepest leaf.
func (e explainBuilder) add(i, above int) (depth int, err error) {
	if above > maxTreeDepth {
		return 0, fmt.Errorf("it is deeper than %d, or goes in a circle", maxTreeDepth)
	}
	if i >= len(e.tree.nodes) || len(e.nodes)-e.root >= len(e.tree.nodes) {
		return 0, fmt.Errorf("it has no nodes, or one node is below two")
	}
	n := &e.tree.nodes[i]
	if n.leaf {
		e.nodes = append(e.nodes, explainNode{feature: -1, number: n.value})
		return above, nil
	}
	column := n.feature
	if e.columns != nil && column >= 0 && column < len(e.columns) {
		column = e.columns[column]
	}
	if column < 0 || column >= min(len(e.reference), math.MaxInt16) || e.columns != nil && n.feature >= len(e.columns) {
		return 0, fmt.Errorf("a split names column %d, the input has %d", n.feature, len(e.reference))
	}
	x := explainNode{feature: int16(column), number: n.threshold, equal: n.equal}
	x.refYes = x.yes(e.reference[column])
	first, second := n.no, n.yes
	if x.refYes {
		first, second = second, first
	}
	at := len(e.nodes)
	e.nodes = append(e.nodes, x)
	a, err := e.add(first, above+1)
	if err != nil {
		return 0, err
	}
	e.nodes[at].other = int32(len(e.nodes))
	b, err := e.add(second, above+1)
	return max(a, b), err
}

// yes tells which way x goes at the node.
func (n *explainNode) yes(x float64) bool {
	if n.equal {
		return x == n.number
	}
	return x <= n.number
}

// shapleyWeights is p!n!/(p+n+1)! for p+n up to depth.
func shapleyWeights(depth int) [][]float64 {
	w := make([][]float64, depth+1)
	for p := range w {
		w[p] = make([]float64, depth+1-p)
		w[p][0] = 1 / float64(p+1)
		for n := 1; n < len(w[p]); n++ {
			w[p][n] = w[p][n-1] * float64(n) / float64(p+n+1)
		}
	}
	return w
}

// Who decides a feature on the way to a node.
const (
	nobody = iota
	reference
	player
)

// walker explains one row.
type walker struct {
	*explainer
	x       []float64
	phi     []float64
	decided []uint8 // by column; all nobody between rows
}

// explain adds each column's contribution to the margin of row x to phi (which
// the caller zeroes). base + Σ phi = margin. decided is memory for one number
// per column, zero before and after. No allocation.
func (e *explainer) explain(x []float64, phi []float64, decided []uint8) {
	w := walker{e, x, phi, decided}
	for _, root := range e.roots {
		w.walk(root, 0, 0)
	}
}

// walk returns what each feature decided by the player gets from the leaves
// below node i, and what each decided by the reference loses. p and n are how
// many there are of them.
func (w *walker) walk(i int32, p, n int) (gain, loss float64) {
	for {
		nd := &w.nodes[i]
		if nd.feature < 0 {
			if p > 0 {
				gain = nd.number * w.weights[p-1][n]
			}
			if n > 0 {
				loss = nd.number * w.weights[p][n-1]
			}
			return gain, loss
		}
		by := w.decided[nd.feature]
		if nd.yes(w.x[nd.feature]) == nd.refYes || by == reference {
			i++
			continue
		}
		if by == player {
			i = nd.other
			continue
		}
		w.decided[nd.feature] = player
		gainX, lossX := w.walk(nd.other, p+1, n)
		w.decided[nd.feature] = reference
		gainR, lossR := w.walk(i+1, p, n+1)
		w.decided[nd.feature] = nobody
		w.phi[nd.feature] += gainX - lossR
		return gainX + gainR, lossX + lossR
	}
}
