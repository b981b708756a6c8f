package model

import "fmt"

// ensemble5 reads a TreeEnsemble of ai.onnx.ml 5, which keeps nodes and leaves in
// separate arrays. A child is a node or a leaf.
func (n *node) ensemble5() (*ensemble, error) {
	a := n.attrs
	if a["n_targets"].i != 1 {
		return nil, fmt.Errorf("the ensemble has %d targets, only 1 is explained", a["n_targets"].i)
	}
	r := reader5{features: a["nodes_featureids"].ints, splits: a["nodes_splits"].tensor, modes: a["nodes_modes"].tensor,
		yes: a["nodes_truenodeids"].ints, no: a["nodes_falsenodeids"].ints,
		yesLeaf: a["nodes_trueleafs"].ints, noLeaf: a["nodes_falseleafs"].ints, weights: a["leaf_weights"].tensor}
	for _, have := range []int{len(r.splits), len(r.modes), len(r.yes), len(r.no), len(r.yesLeaf), len(r.noLeaf)} {
		if have != len(r.features) {
			return nil, fmt.Errorf("the ensemble's arrays differ in length")
		}
	}
	e := &ensemble{input: n.inputs[0]}
	for _, root := range a["tree_roots"].ints {
		r.tree = tree{}
		if _, err := r.node(root, false, 0); err != nil {
			return nil, err
		}
		e.trees = append(e.trees, r.tree)
	}
	functions := []string{"AVERAGE", "SUM"}
	f, ok := a["aggregate_function"]
	if !ok {
		return e, nil
	}
	if f.i < 0 || int(f.i) >= len(functions) {
		return nil, fmt.Errorf("the ensemble aggregates by minimum or maximum, only SUM and AVERAGE are explained")
	}
	return e, e.aggregate(functions[f.i])
}

// reader5 follows the nodes of one tree.
type reader5 struct {
	features, yes, no, yesLeaf, noLeaf []int64
	splits, modes, weights             []float64
	tree                               tree
}

// modes5 lists the modes by their number in nodes_modes.
var modes5 = []string{"BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"}

// node adds the node or leaf i to the tree and returns its index there.
func (r *reader5) node(i int64, leaf bool, depth int) (at int, err error) {
	at = len(r.tree.nodes)
	r.tree.nodes = append(r.tree.nodes, treeNode{leaf: leaf})
	size := len(r.features)
	if leaf {
		size = len(r.weights)
	}
	if i < 0 || i >= int64(size) || depth > maxTreeDepth || at > 2*(len(r.features)+len(r.weights)) {
		return 0, fmt.Errorf("the ensemble names node %d, which is not there, or is deeper than %d", i, maxTreeDepth)
	}
	if leaf {
		r.tree.nodes[at].value = r.weights[i]
		return at, nil
	}
	mode := int(r.modes[i])
	if mode < 0 || mode >= len(modes5) {
		return 0, fmt.Errorf("node mode %d is not explained", mode)
	}
	yes, err := r.node(r.yes[i], r.yesLeaf[i] != 0, depth+1)
	if err != nil {
		return 0, err
	}
	no, err := r.node(r.no[i], r.noLeaf[i] != 0, depth+1)
	if err != nil {
		return 0, err
	}
	n := &r.tree.nodes[at]
	n.feature = int(r.features[i])
	return at, n.split(modes5[mode], r.splits[i], true, yes, no)
}
