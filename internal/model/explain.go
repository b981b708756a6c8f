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
// more than for anything else.
type explainNode struct {
	number  float32  // the threshold, or a leaf's value
	feature int16    // -1: a leaf
	refYes  bool     // the reference goes yes
	child   [2]int32 // of the reference's branch, and of the other
}

// maxTreeDepth bounds the depth of a tree that is explained.
const maxTreeDepth = 64

// newExplainer prepares an explanation against reference, one value per column.
func newExplainer(trees []tree, base float64, reference []float32) (*explainer, error) {
	e := &explainer{base: base}
	depth := 0
	for t := range trees {
		root := int32(len(e.nodes))
		e.roots = append(e.roots, root)
		if err := e.add(&trees[t], root, reference); err != nil {
			return nil, fmt.Errorf("tree %d: %w", t, err)
		}
		d, err := e.depth(root, 0)
		if err != nil {
			return nil, fmt.Errorf("tree %d: %w", t, err)
		}
		depth = max(depth, d)
		i := root
		for e.nodes[i].feature >= 0 {
			i = e.nodes[i].child[0]
		}
		e.base += float64(e.nodes[i].number)
	}
	e.weights = shapleyWeights(depth)
	return e, nil
}

func (e *explainer) add(t *tree, root int32, reference []float32) error {
	if len(t.nodes) == 0 {
		return fmt.Errorf("it has no nodes")
	}
	for i := range t.nodes {
		n := &t.nodes[i]
		if n.leaf {
			e.nodes = append(e.nodes, explainNode{feature: -1, number: float32(n.value)}) // float32 in the file
			continue
		}
		if n.feature < 0 || n.feature >= min(len(reference), math.MaxInt16) {
			return fmt.Errorf("a split names column %d, the input has %d", n.feature, len(reference))
		}
		x := explainNode{feature: int16(n.feature), number: n.threshold, refYes: reference[n.feature] <= n.threshold}
		x.child = [2]int32{root + int32(n.no), root + int32(n.yes)}
		if x.refYes {
			x.child[0], x.child[1] = x.child[1], x.child[0]
		}
		e.nodes = append(e.nodes, x)
	}
	return nil
}

// depth is the longest path below node i.
func (e *explainer) depth(i int32, above int) (int, error) {
	if above > maxTreeDepth {
		return 0, fmt.Errorf("it is deeper than %d, or goes in a circle", maxTreeDepth)
	}
	n := &e.nodes[i]
	if n.feature < 0 {
		return above, nil
	}
	a, err := e.depth(n.child[0], above+1)
	if err != nil {
		return 0, err
	}
	b, err := e.depth(n.child[1], above+1)
	return max(a, b), err
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
	x       []float32
	phi     []float64
	decided []uint8 // by column; all nobody between rows
}

// explain adds each column's contribution to the margin of row x to phi (which
// the caller zeroes). base + Σ phi = margin. decided is memory for one number
// per column, zero before and after. No allocation.
func (e *explainer) explain(x []float32, phi []float64, decided []uint8) {
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
				gain = float64(nd.number) * w.weights[p-1][n]
			}
			if n > 0 {
				loss = float64(nd.number) * w.weights[p][n-1]
			}
			return gain, loss
		}
		other := 0
		if (w.x[nd.feature] <= nd.number) != nd.refYes {
			other = 1
		}
		by := w.decided[nd.feature]
		if other == 0 || by == reference {
			i = nd.child[0]
			continue
		}
		if by == player {
			i = nd.child[1]
			continue
		}
		w.decided[nd.feature] = player
		gainX, lossX := w.walk(nd.child[1], p+1, n)
		w.decided[nd.feature] = reference
		gainR, lossR := w.walk(nd.child[0], p, n+1)
		w.decided[nd.feature] = nobody
		w.phi[nd.feature] += gainX - lossR
		return gainX + gainR, lossX + lossR
	}
}
