package score

import (
	"fmt"
	"math"
)

// tree is one tree of an ensemble, its nodes in depth-first order, root first.
type tree struct{ nodes []treeNode }

// treeNode is a split (x[feature] ≤ threshold goes yes, else no) or a leaf.
type treeNode struct {
	leaf      bool
	feature   int
	threshold float32
	yes, no   int     // indexes into nodes
	value     float64 // of a leaf
	cover     float64 // training rows that reached the node
}

// maxLeafFeatures bounds the distinct features on a path to a leaf, since the
// explainer's table has 2^n entries.
const maxLeafFeatures = 12

// readTrees finds the graph's tree ensemble: the trees and the constant that
// is added to their sum. The error says why the graph cannot be explained.
//
// nodes_hitrates must hold the number of training rows that reached each node
// (ONNX leaves its unit open; LightGBM's exporter in models/train writes it).
func readTrees(g *graph) (trees []tree, base float64, err error) {
	var ens *node
	for i := range g.nodes {
		switch n := &g.nodes[i]; {
		case n.domain == "ai.onnx.ml" && n.op == "TreeEnsembleRegressor" && ens == nil:
			ens = n
		case n.op != "Sigmoid" && n.op != "Identity" && n.op != "Reshape":
			return nil, 0, fmt.Errorf("only a TreeEnsembleRegressor with a Sigmoid is explained, the graph has %s", n.op)
		}
	}
	if ens == nil {
		return nil, 0, fmt.Errorf("no TreeEnsembleRegressor in the graph")
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

// buildTrees joins the attributes' parallel arrays.
func buildTrees(a map[string]attribute) ([]tree, error) {
	treeIDs, nodeIDs := a["nodes_treeids"].ints, a["nodes_nodeids"].ints
	features, thresholds := a["nodes_featureids"].ints, a["nodes_values"].floats
	yes, no := a["nodes_truenodeids"].ints, a["nodes_falsenodeids"].ints
	modes, cover := a["nodes_modes"].strings, a["nodes_hitrates"].floats
	n := len(treeIDs)
	for _, have := range []int{len(nodeIDs), len(features), len(thresholds), len(yes), len(no), len(modes)} {
		if have != n {
			return nil, fmt.Errorf("the ensemble's arrays differ in length")
		}
	}
	if len(cover) != n {
		return nil, fmt.Errorf("nodes_hitrates is missing: without the rows per node there is no background to explain against")
	}
	type id struct{ tree, node int64 }
	at := make(map[id]int, n)
	var trees []tree
	index := map[int64]int{}
	for i := range n {
		t, ok := index[treeIDs[i]]
		if !ok {
			t = len(trees)
			index[treeIDs[i]] = t
			trees = append(trees, tree{})
		}
		if modes[i] != "LEAF" && modes[i] != "BRANCH_LEQ" {
			return nil, fmt.Errorf("node mode %s is not explained, only BRANCH_LEQ", modes[i])
		}
		at[id{treeIDs[i], nodeIDs[i]}] = len(trees[t].nodes)
		trees[t].nodes = append(trees[t].nodes, treeNode{leaf: modes[i] == "LEAF",
			feature: int(features[i]), threshold: thresholds[i], cover: float64(cover[i])})
	}
	for i := range n {
		nd := &trees[index[treeIDs[i]]].nodes[at[id{treeIDs[i], nodeIDs[i]}]]
		if nd.leaf {
			continue
		}
		y, okY := at[id{treeIDs[i], yes[i]}]
		f, okN := at[id{treeIDs[i], no[i]}]
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
		k, ok := at[id{tt[i], tn[i]}]
		if !ok {
			return nil, fmt.Errorf("a target names node %d of tree %d, which is not there", tn[i], tt[i])
		}
		trees[index[tt[i]]].nodes[k].value += float64(w[i])
	}
	return trees, nil
}

// leafPath is a leaf as the conjunction of one interval per distinct feature
// on its path: low < x[feature] ≤ high.
type leafPath struct {
	value float64
	conds []interval
}

type interval struct {
	feature   int
	low, high float32
	// share of the training rows, among those that met the path's other
	// splits on the way, that also met this feature's: the product of
	// cover(child)/cover(node) over the feature's splits.
	share float64
}

// leaves lists a tree's leaves with their paths.
func (t *tree) leaves() ([]leafPath, error) {
	var out []leafPath
	var walk func(i, depth int, conds []interval) error
	walk = func(i, depth int, conds []interval) error {
		n := &t.nodes[i]
		if n.leaf {
			out = append(out, leafPath{n.value, append([]interval(nil), conds...)})
			return nil
		}
		if depth > len(t.nodes) {
			return fmt.Errorf("the tree has a cycle")
		}
		for _, side := range []struct {
			child int
			yes   bool
		}{{n.yes, true}, {n.no, false}} {
			c := t.nodes[side.child].cover
			if !(n.cover > 0) || !(c > 0) || c > n.cover {
				return fmt.Errorf("cover %g of a node under one of %g", c, n.cover)
			}
			next, err := narrow(conds, n, side.yes, c/n.cover)
			if err != nil {
				return err
			}
			if err := walk(side.child, depth+1, next); err != nil {
				return err
			}
		}
		return nil
	}
	if len(t.nodes) == 0 {
		return nil, fmt.Errorf("a tree has no nodes")
	}
	return out, walk(0, 0, nil)
}

// narrow returns conds with one more split met.
func narrow(conds []interval, n *treeNode, yes bool, share float64) ([]interval, error) {
	out := append([]interval(nil), conds...)
	k := -1
	for i := range out {
		if out[i].feature == n.feature {
			k = i
		}
	}
	if k < 0 {
		if len(out) == maxLeafFeatures {
			return nil, fmt.Errorf("more than %d features on a path", maxLeafFeatures)
		}
		inf := float32(math.Inf(1))
		out = append(out, interval{feature: n.feature, low: -inf, high: inf, share: 1})
		k = len(out) - 1
	}
	if yes {
		out[k].high = min(out[k].high, n.threshold)
	} else {
		out[k].low = max(out[k].low, n.threshold)
	}
	out[k].share *= share
	return out, nil
}
