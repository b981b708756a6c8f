package model

import (
	"fmt"
	"math"
	"slices"
)

// tree is one tree of an ensemble. Its nodes are in the file's order, the root first.
type tree struct{ nodes []treeNode }

// treeNode is a leaf, or a split by x[feature] ≤ threshold (or = threshold if equal).
type treeNode struct {
	leaf, equal bool
	feature     int
	threshold   float64
	yes, no     int     // indexes into nodes
	value       float64 // of a leaf
}

// ensemble is the tree ensemble of a graph: its value is base plus the sum of the trees.
type ensemble struct {
	trees []tree
	base  float64
	input string // the graph's value that the trees split
}

// readTrees reads the graph's tree ensemble. class is the index of the class whose score
// is read, if it is a classifier. The error says why the trees can't be explained.
func readTrees(g *graph, class int) (*ensemble, error) {
	var ens *node
	for i := range g.nodes {
		if n := &g.nodes[i]; n.domain == "ai.onnx.ml" && (n.op == "TreeEnsembleRegressor" || n.op == "TreeEnsembleClassifier" || n.op == "TreeEnsemble") {
			if ens != nil {
				return nil, fmt.Errorf("the graph has several tree ensembles")
			}
			ens = n
		}
	}
	if ens == nil || len(ens.inputs) == 0 {
		return nil, fmt.Errorf("the graph has no tree ensemble")
	}
	switch ens.op {
	case "TreeEnsembleRegressor":
		return ens.regressor()
	case "TreeEnsembleClassifier":
		return ens.classifier(class)
	}
	return ens.ensemble5()
}

// regressor reads a TreeEnsembleRegressor.
func (n *node) regressor() (*ensemble, error) {
	if targets := n.attrs["n_targets"].i; targets != 1 {
		return nil, fmt.Errorf("the ensemble has %d targets, only 1 is explained", targets)
	}
	e := &ensemble{input: n.inputs[0]}
	for _, b := range n.array("base_values") {
		e.base += b
	}
	err := e.build(n, "target", -1)
	if err == nil {
		err = e.aggregate(n.attrs["aggregate_function"].s)
	}
	return e, err
}

// aggregate turns an average into a sum.
func (e *ensemble) aggregate(function string) error {
	switch function {
	case "", "SUM":
		return nil
	case "AVERAGE":
		for _, t := range e.trees {
			for i := range t.nodes {
				t.nodes[i].value /= float64(len(e.trees))
			}
		}
		return nil
	}
	return fmt.Errorf("the ensemble aggregates by %s, only SUM and AVERAGE are explained", function)
}

// classifier reads a TreeEnsembleClassifier of two classes: the sum of class, or the only
// sum if the classifier has one for both.
func (n *node) classifier(class int) (*ensemble, error) {
	if classes := max(len(n.attrs["classlabels_int64s"].ints), len(n.attrs["classlabels_strings"].strings)); classes != 2 {
		return nil, fmt.Errorf("the classifier has %d classes, only 2 are explained by their trees", classes)
	}
	e := &ensemble{input: n.inputs[0]}
	ids := n.attrs["class_ids"].ints
	bases := n.array("base_values")
	only := int64(class)
	if len(ids) > 0 && !slices.ContainsFunc(ids, func(id int64) bool { return id != ids[0] }) {
		only = ids[0]
	}
	switch {
	case len(bases) == 1:
		e.base = bases[0]
	case int(only) < len(bases):
		e.base = bases[only]
	}
	return e, e.build(n, "class", only)
}

// array returns an attribute's numbers, from NAME_as_tensor if that is set.
func (n *node) array(name string) []float64 {
	if t := n.attrs[name+"_as_tensor"].tensor; len(t) > 0 {
		return t
	}
	return n.attrs[name].numbers()
}

// positions holds, by tree and node id, the node's index plus 1; 0 means that there is no
// such node.
type positions [][]int32

func (p positions) put(tree int, node int64, at int) {
	for int64(len(p[tree])) <= node {
		p[tree] = append(p[tree], 0)
	}
	p[tree][node] = int32(at + 1)
}

func (p positions) get(tree int, node int64) (at int, ok bool) {
	if tree >= len(p) || node < 0 || node >= int64(len(p[tree])) {
		return 0, false
	}
	at = int(p[tree][node]) - 1
	return at, at >= 0
}

// build joins the attributes' parallel arrays. A leaf's value is the sum of its weights
// whose KIND_ids equal only, or of all if only is -1.
func (e *ensemble) build(n *node, kind string, only int64) error {
	a := n.attrs
	treeIDs, nodeIDs, features := a["nodes_treeids"].ints, a["nodes_nodeids"].ints, a["nodes_featureids"].ints
	thresholds, modes := n.array("nodes_values"), a["nodes_modes"].strings
	yes, no := a["nodes_truenodeids"].ints, a["nodes_falsenodeids"].ints
	for _, have := range []int{len(nodeIDs), len(features), len(thresholds), len(yes), len(no), len(modes)} {
		if have != len(treeIDs) {
			return fmt.Errorf("the ensemble's arrays differ in length")
		}
	}
	single := len(a["nodes_values_as_tensor"].tensor) == 0
	var at positions
	index := map[int64]int{}
	for i := range treeIDs {
		t, ok := index[treeIDs[i]]
		if !ok {
			t = len(e.trees)
			index[treeIDs[i]] = t
			e.trees, at = append(e.trees, tree{}), append(at, nil)
		}
		if nodeIDs[i] < 0 || nodeIDs[i] >= int64(len(treeIDs)) {
			return fmt.Errorf("tree %d: node %d is out of range", treeIDs[i], nodeIDs[i])
		}
		at.put(t, nodeIDs[i], len(e.trees[t].nodes))
		nd := treeNode{leaf: modes[i] == "LEAF", feature: int(features[i])}
		e.trees[t].nodes = append(e.trees[t].nodes, nd)
	}
	for i := range treeIDs {
		t := index[treeIDs[i]]
		own, _ := at.get(t, nodeIDs[i])
		nd := &e.trees[t].nodes[own]
		if nd.leaf {
			continue
		}
		y, okY := at.get(t, yes[i])
		f, okN := at.get(t, no[i])
		if !okY || !okN {
			return fmt.Errorf("tree %d: node %d has a child that is not there", treeIDs[i], nodeIDs[i])
		}
		if err := nd.split(modes[i], thresholds[i], single, y, f); err != nil {
			return err
		}
	}
	return e.leaves(n, kind, only, index, at)
}

// split sets a node's test. Every mode is a ≤ or an =, possibly with the branches swapped.
func (n *treeNode) split(mode string, threshold float64, single bool, yes, no int) error {
	n.threshold, n.yes, n.no = threshold, yes, no
	below := func() float64 { // x < t is x ≤ the number before t
		if single {
			return float64(math.Nextafter32(float32(threshold), float32(math.Inf(-1))))
		}
		return math.Nextafter(threshold, math.Inf(-1))
	}
	switch mode {
	case "BRANCH_LEQ":
	case "BRANCH_LT":
		n.threshold = below()
	case "BRANCH_GT":
		n.yes, n.no = no, yes
	case "BRANCH_GTE":
		n.threshold, n.yes, n.no = below(), no, yes
	case "BRANCH_EQ":
		n.equal = true
	case "BRANCH_NEQ":
		n.equal, n.yes, n.no = true, no, yes
	default:
		return fmt.Errorf("node mode %s is not explained", mode)
	}
	return nil
}

func (e *ensemble) leaves(n *node, kind string, only int64, index map[int64]int, at positions) error {
	tt, tn, ids := n.attrs[kind+"_treeids"].ints, n.attrs[kind+"_nodeids"].ints, n.attrs[kind+"_ids"].ints
	w := n.array(kind + "_weights")
	if len(tt) != len(tn) || len(tt) != len(w) || only >= 0 && len(tt) != len(ids) {
		return fmt.Errorf("the ensemble's %s arrays differ in length", kind)
	}
	for i := range tt {
		t, known := index[tt[i]]
		k, ok := at.get(t, tn[i])
		if !known || !ok {
			return fmt.Errorf("a %s names node %d of tree %d, which is not there", kind, tn[i], tt[i])
		}
		if only < 0 || ids[i] == only {
			e.trees[t].nodes[k].value += w[i]
		}
	}
	return nil
}
