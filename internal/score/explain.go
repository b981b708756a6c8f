package score

import "fmt"

// explainer computes how far each feature moved a score: exact Shapley values
// of the tree ensemble's margin, with the training rows' cover as background
// (path-dependent TreeSHAP; Lundberg et al., Nature Machine Intelligence 2020,
// doi 10.1038/s42256-019-0138-9). They equal LightGBM's pred_contrib.
//
// A leaf with value v is reached if its m interval conditions hold. For a row
// x let A be the set of conditions that x meets, z_j the cover share of
// condition j, and
//
//	Ψ(B) = Σ_{S⊆B} |S|!(m−1−|S|)!/m! · Π_{j∈B∖S} z_j
//	T[B] = v · Π_{j∉B} z_j · Ψ(B)
//
// Then the leaf's Shapley value of feature i is T[A∖i]·(1/z_i − 1) if i is in
// A and −T[A] if not. T does not depend on x, so it is tabulated at load, 2^m
// numbers a leaf, and an explanation is m look-ups a leaf: O(leaves · depth)
// against the published algorithm's O(leaves · depth²). (The table is the idea
// of Yang, Fast TreeSHAP, arXiv 2109.09847; the closed form above makes it one
// number per subset.) Benchmarks: BenchmarkExplain.
type explainer struct {
	base   float64 // expected margin over the background
	leaves []leaf
	conds  []cond    // of all leaves, one after another
	table  []float64 // T of all leaves, one after another
}

type leaf struct{ conds, n, table int32 }

type cond struct {
	feature   int32
	low, high float32
	factor    [2]float64 // of T when the condition fails, and when it holds: −1, 1/z − 1
}

// maxTable bounds an explainer's memory: 8 bytes an entry, 64 MB.
const maxTable = 8 << 20

func newExplainer(trees []tree, base float64, columns int) (*explainer, error) {
	e := &explainer{base: base}
	for t := range trees {
		paths, err := trees[t].leaves()
		if err != nil {
			return nil, fmt.Errorf("tree %d: %w", t, err)
		}
		for _, p := range paths {
			if err := e.add(p, columns); err != nil {
				return nil, fmt.Errorf("tree %d: %w", t, err)
			}
		}
	}
	return e, nil
}

func (e *explainer) add(p leafPath, columns int) error {
	weight := p.value
	for _, c := range p.conds {
		weight *= c.share
		if c.feature < 0 || c.feature >= columns {
			return fmt.Errorf("a split names column %d, the input has %d", c.feature, columns)
		}
	}
	e.base += weight
	m := len(p.conds)
	if m == 0 || p.value == 0 {
		return nil // moves nothing
	}
	if len(e.table)+1<<m > maxTable {
		return fmt.Errorf("the explanation table would exceed %d entries", maxTable)
	}
	e.leaves = append(e.leaves, leaf{int32(len(e.conds)), int32(m), int32(len(e.table))})
	for _, c := range p.conds {
		e.conds = append(e.conds, cond{int32(c.feature), c.low, c.high, [2]float64{-1, 1/c.share - 1}})
	}
	weights := shapleyWeights(m)
	for b := range 1 << m {
		e.table = append(e.table, p.value*subsetTerm(p.conds, b, weights))
	}
	return nil
}

// shapleyWeights returns s!(m−1−s)!/m! for s = 0 … m−1.
func shapleyWeights(m int) []float64 {
	w := make([]float64, m)
	w[0] = 1 / float64(m)
	for s := 1; s < m; s++ {
		w[s] = w[s-1] * float64(s) / float64(m-s)
	}
	return w
}

// subsetTerm is Π_{j∉B} z_j · Ψ(B). Ψ is read off the polynomial
// Π_{j∈B}(z_j + y), whose coefficient of y^s sums over the subsets of size s.
func subsetTerm(conds []interval, b int, weights []float64) float64 {
	poly := make([]float64, 1, len(conds)+1)
	poly[0] = 1
	outside := 1.0
	for j, c := range conds {
		if b&(1<<j) == 0 {
			outside *= c.share
			continue
		}
		poly = append(poly, 0)
		for s := len(poly) - 1; s > 0; s-- {
			poly[s] = poly[s]*c.share + poly[s-1]
		}
		poly[0] *= c.share
	}
	psi := 0.0
	for s := range min(len(poly), len(weights)) { // the full set is never asked for
		psi += poly[s] * weights[s]
	}
	return outside * psi
}

// explain adds each column's contribution to the margin of row x to phi
// (which the caller zeroes). base + Σ phi = margin. No allocation.
//
// Both loops are free of branches on x: a leaf's conditions hold or fail as
// the row pleases, and a processor that guesses wrong loses more time than the
// arithmetic takes.
func (e *explainer) explain(x []float32, phi []float64) {
	for _, l := range e.leaves {
		conds := e.conds[l.conds : l.conds+l.n]
		met := uint32(0)
		for j := range conds {
			c := &conds[j]
			v := x[c.feature]
			met |= (bit(v > c.low) & bit(v <= c.high)) << j
		}
		table := e.table[l.table : l.table+1<<l.n]
		for j := range conds {
			c := &conds[j]
			// Met: T[A∖j]·(1/z−1). Not met: A∖j is A, and −T[A].
			phi[c.feature] += table[met&^(1<<j)] * c.factor[met>>j&1]
		}
	}
}

// bit is 1 for true; the compiler turns it into one instruction.
func bit(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}
