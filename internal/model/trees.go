package model

import "fmt"

// tree is one tree of an ensemble, its nodes in depth-first order, root first.
type tree struct{ nodes []treeNode }

// treeNode is a split (x[feature] ≤ threshold goes yes, else no) or a leaf.
type treeNode struct {
	leaf      bool
	feature   int
	threshold float32
	yes, no   int     // indexes into nodes
	value     float64 // of a leaf
}

// readTrees finds the graph's tree ensemble: the trees and the constant that
// is added to their sum. The error says why the graph cannot be explained.
func readTrees(g *graph) (trees []tree, base float64, err error) {
	var ens *node
	sigmoid := false
	for i := range g.nodes {
		switch n := &g.nodes[i]; {
		case n.op == "Sigmoid":
			sigmoid = true
		case n.domain == "ai.onnx.ml" && n.op == "TreeEnsembleRegressor" && ens == nil:
			ens = n
		case n.op != "Identity" && n.op != "Reshape":
			return nil, 0, fmt.Errorf("only a TreeEnsembleRegressor with a Sigmoid is explained, the graph has %s", n.op)
		}
	}
	if ens == nil || !sigmoid {
		return nil, 0, fmt.Errorf("no TreeEnsembleRegressor with a Sigmoid in the graph")
	}
	if targets := ens.attrs["n_targets"].i; targets != 1 {
		return nil, 0, fmt.Errorf("the ensemble has %d targets, only 1 is explained", targets)
	}
	if agg := ens.attrs["aggregate_function"].s; agg != "" && agg != "SUM" {
		return nil, 0, fmt.Errorf("the ensemble aggregates by %s, only SUM is explained", agg)
	}
	if post := ens.attrs["post_transform"].s; post != "" && post != "NONE" {
		return nil, 0, fmt.Errorf("the ensemble has post_transform %s, only NONE is explained", post)
	}
	for _, b := range ens.attrs["base_values"].floats {
		base += float64(b)
	}
	trees, err = buildTrees(ens.attrs)
	return trees, base, err
}

// positions says where each tree's nodes stand, by their ids; 0: nowhere, else
// one more.
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

// buildTrees joins the attributes' parallel arrays.
func buildTrees(a map[string]attribute) ([]tree, error) {
	treeIDs, nodeIDs := a["nodes_treeids"].ints, a["nodes_nodeids"].ints
	features, thresholds := a["nodes_featureids"].ints, a["nodes_values"].floats
	yes, no := a["nodes_truenodeids"].ints, a["nodes_falsenodeids"].ints
	modes := a["nodes_modes"].strings
	n := len(treeIDs)
	for _, have := range []int{len(nodeIDs), len(features), len(thresholds), len(yes), len(no), len(modes)} {
		if have != n {
			return nil, fmt.Errorf("the ensemble's arrays differ in length")
		}
	}
	var trees []tree
	var at positions
	index := map[int64]int{}
	for i := range n {
		t, ok := index[treeIDs[i]]
		if !ok {
			t = len(trees)
			index[treeIDs[i]] = t
			trees, at = append(trees, tree{}), append(at, nil)
		}
		if modes[i] != "LEAF" && modes[i] != "BRANCH_LEQ" {
			return nil, fmt.Errorf("node mode %s is not explained, only BRANCH_LEQ", modes[i])
		}
		if nodeIDs[i] < 0 || nodeIDs[i] >= int64(n) {
			return nil, fmt.Errorf("tree %d: node %d is out of range", treeIDs[i], nodeIDs[i])
		}
		at.put(t, nodeIDs[i], len(trees[t].nodes))
		trees[t].nodes = append(trees[t].nodes, treeNode{leaf: modes[i] == "LEAF",
			feature: int(features[i]), threshold: thresholds[i]})
	}
	for i := range n {
		t := index[treeIDs[i]]
		own, _ := at.get(t, nodeIDs[i])
		nd := &trees[t].nodes[own]
		if nd.leaf {
			continue
		}
		y, okY := at.get(t, yes[i])
		f, okN := at.get(t, no[i])
		if !okY || !okN {
			return nil, fmt.Errorf("tree %d: node %d has a child that is not there", treeIDs[i], nodeIDs[i])
		}
		nd.yes, nd.no = y, f
	}
	tt, tn, w := a["target_treeids"].ints, a["target_nodeids"].ints, a["target_weights"].floats
	if len(tt) != len(tn) || len(tt) != len(w) {
		return nil, fmt.Errorf("the ensemble's target arrays differ in length")
	}
	for i := range tt {
		t, known := index[tt[i]]
		k, ok := at.get(t, tn[i])
		if !known || !ok {
			return nil, fmt.Errorf("a target names node %d of tree %d, which is not there", tn[i], tt[i])
		}
		trees[t].nodes[k].value += float64(w[i])
	}
	return trees, nil
}
