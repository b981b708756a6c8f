package model

import (
	"fmt"
	"math"
)

// explainer computes how far each feature moved a player's score away from the score of
// the reference, a player with the training set's median in every feature. The
// contributions are exact baseline Shapley values: in a coalition, its features have
// the player's values and all others the reference's. That is interventional TreeSHAP
// with one background row (Lundberg et al., Nature Machine Intelligence 2020, doi
// 10.1038/s42256-019-0138-9). They are in log-odds; base and contributions sum to the
// model's margin.
//
// Each tree is walked once. If the player and the reference take the same branch of a
// node, only that branch is followed. If they take different ones, both are followed,
// and the feature is marked as decided by the player or by the reference. A leaf of
// value v below p features decided by the player and n decided by the reference adds
// v·(p−1)!n!/(p+n)! to each of the p and −v·p!(n−1)!/(p+n)! to each of the n. So only
// the few nodes at which the two differ cost anything; explaining against the whole
// training set would cost ten times as much. Benchmark: BenchmarkExplain.
type explainer struct {
	base    float64 // the reference's margin
	nodes   []explainNode
	roots   []int32
	weights [][]float64 // [p][n]: p!n!/(p+n+1)!
}

// explainNode is a split or a leaf. It has 16 bytes, because memory access dominates the
// cost of an explanation. The node of the reference's branch follows directly.
type explainNode struct {
	number  float64 // the threshold, or a leaf's value
	other   int32   // the node of the branch that the reference does not take
	feature int16   // -1: a leaf
	equal   bool    // the test is x = number, else x ≤ number
	refYes  bool    // the reference passes the test
}

// maxTreeDepth bounds the depth of a tree that is explained.
const maxTreeDepth = 64

// newExplainer prepares explanations against reference, which has one value per column.
// columns maps the trees' features to columns of the row; nil is the identity.
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

// add appends node i and its subtree, and returns the depth of the deepest leaf.
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

// yes reports whether x passes the node's test.
func (n *explainNode) yes(x float64) bool {
	if n.equal {
		return x == n.number
	}
	return x <= n.number
}

// shapleyWeights returns p!n!/(p+n+1)! for p+n up to depth.
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

// Who decided a feature on the path to a node.
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
	decided []uint8 // by column; all are nobody between rows
}

// explain adds each column's contribution to the margin of row x to phi, which the
// caller must have zeroed: base + Σ phi = margin. decided is scratch memory of one byte
// per column, zero before and after the call. explain does not allocate.
func (e *explainer) explain(x []float64, phi []float64, decided []uint8) {
	w := walker{e, x, phi, decided}
	for _, root := range e.roots {
		w.walk(root, 0, 0)
	}
}

// walk returns what the leaves below node i add to each feature decided by the player
// (gain) and take from each decided by the reference (loss). p and n are the numbers of
// these features.
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
