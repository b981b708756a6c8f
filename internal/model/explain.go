package model

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// Explanation holds how far each column moved a row's score away from the reference's.
// [Model.Explain] reuses its memory.
type Explanation struct {
	Effects []float64 // per column; the reference's score plus the effects is the row's score
	Errors  []float64 // standard errors of Effects; nil: they are exact
	decided []uint8
	single  []float64
}

// Explain computes the effects of row, which must just have been scored (and thereby
// rounded). It returns false if the model can't be explained.
func (m *Model) Explain(row Row, ex *Explanation) (bool, error) {
	ex.Effects = sized(ex.Effects, m.columns)
	clear(ex.Effects)
	switch {
	case m.trees != nil:
		ex.Errors, ex.decided = nil, sized(ex.decided, m.columns)
		clear(ex.decided)
		x := row.Numbers
		if m.single {
			ex.single = append(ex.single[:0], x...)
			for i, v := range ex.single {
				ex.single[i] = float64(float32(v))
			}
			x = ex.single
		}
		m.trees.explain(x, ex.Effects, ex.decided)
		return true, nil
	case m.sampled != nil:
		return true, m.sampled.explain(m, row, ex)
	}
	return false, nil
}

// proofRows is how many rows must show that the trees alone make the score. It is only a
// sample, because a cold start waits for it.
const proofRows = 16

// explainBy decides how scores are explained: exactly if the graph's trees alone make
// the score, else by sampling. Whether they do is not guessed from the operators around
// the trees but checked on rows.
func (m *Model) explainBy(g *graph, golden *goldenFile) {
	exact, err := m.readExplainer(g)
	rows := m.proof(golden)
	if err == nil && m.prove(exact, rows) {
		m.trees = exact
		return
	}
	if err == nil {
		err = fmt.Errorf("the graph does more than sum its trees")
	}
	s, serr := newSampler(m)
	if serr != nil {
		m.Explained = "not explained: " + serr.Error()
		return
	}
	m.sampled = s
	m.Explained = fmt.Sprintf("explained by Shapley values sampled over %d orders, in %s, with their standard errors (%v)", s.orders, s.unit(), err)
}

func (m *Model) readExplainer(g *graph) (*explainer, error) {
	ens, err := readTrees(g, m.class(g))
	if err != nil {
		return nil, err
	}
	columns, single, err := m.wiring.trace(g, ens.input, 0)
	if err != nil {
		return nil, err
	}
	m.single = single
	return newExplainer(ens, columns, m.Manifest.reference().Numbers)
}

// class returns the index of the class whose score is read.
func (m *Model) class(g *graph) int {
	if i := slices.Index(g.classes(), m.Manifest.OutputClass); i >= 0 {
		return i
	}
	return m.wiring.output.column
}

// trace finds the row's columns that make up a value of the graph, through operators
// that change no number. single says that float64 inputs become float32 on the way.
func (w *wiring) trace(g *graph, value string, depth int) (columns []int, single bool, err error) {
	for _, in := range w.inputs {
		if in.name == value && in.elem != elemString {
			for i := range in.columns {
				columns = append(columns, in.first+i)
			}
			return columns, false, nil
		}
	}
	i := slices.IndexFunc(g.nodes, func(n node) bool { return slices.Contains(n.outputs, value) })
	if i < 0 || depth > len(g.nodes) || len(g.nodes[i].inputs) == 0 {
		return nil, false, fmt.Errorf("the trees do not split the inputs themselves")
	}
	n := &g.nodes[i]
	from := n.inputs
	switch n.op {
	case "Cast":
		single = n.attrs["to"].i == elemFloat32
		from = n.inputs[:1]
	case "Identity", "Reshape", "Flatten", "Unsqueeze":
		from = n.inputs[:1]
	case "Concat", "FeatureVectorizer":
	default:
		return nil, false, fmt.Errorf("before the trees the graph has %s", n.op)
	}
	for _, f := range from {
		c, s, err := w.trace(g, f, depth+1)
		if err != nil {
			return nil, false, err
		}
		columns, single = append(columns, c...), single || s
	}
	return columns, single, nil
}

// proof returns proofRows rows to check the model on: golden rows and, if they are too
// few, mixtures of them.
func (m *Model) proof(golden *goldenFile) (rows []Row) {
	step := max(1, len(golden.Rows)/proofRows)
	for i := 0; i < len(golden.Rows) && len(rows) < proofRows; i += step {
		rows = append(rows, golden.Rows[i].row)
	}
	rng := rand.New(rand.NewPCG(1, uint64(m.columns)))
	sources := append(slices.Clone(rows), m.Manifest.reference())
	for len(rows) < proofRows {
		mixed := m.Manifest.reference()
		for i := range mixed.Numbers {
			from := sources[rng.IntN(len(sources))]
			mixed.Numbers[i] = from.Numbers[i]
			if mixed.Words != nil {
				mixed.Words[i] = from.Words[i]
			}
		}
		rows = append(rows, mixed)
	}
	return rows
}

// prove reports whether the sum of the trees gives the score of every row, as log-odds
// or as the score itself. It scales the trees so that their sum has that unit and sign.
func (m *Model) prove(e *explainer, rows []Row) bool {
	m.trees = e
	defer func() { m.trees = nil }()
	links := []struct {
		unit  string
		sign  float64
		score func(sum float64) float64
	}{
		{"log-odds", 1, sigmoid},
		{"log-odds", -1, func(sum float64) float64 { return sigmoid(-sum) }},
		{"log-odds", 2, func(sum float64) float64 { return sigmoid(2 * sum) }},
		{"the score's own unit", 1, func(sum float64) float64 { return sum }},
		{"the score's own unit", -1, func(sum float64) float64 { return 1 - sum }},
	}
	var ex Explanation
	y := make([]float64, m.outputs)
	for _, row := range rows {
		if m.Score(row, y) != nil {
			return false
		}
		if ok, err := m.Explain(row, &ex); !ok || err != nil {
			return false
		}
		sum := e.base
		for _, v := range ex.Effects {
			sum += v
		}
		kept := links[:0]
		for _, l := range links {
			if near(l.score(sum), y[0], scoreTolerance*max(1, math.Abs(y[0]))) {
				kept = append(kept, l)
			}
		}
		links = kept
	}
	if len(links) == 0 {
		return false
	}
	e.times(links[0].sign)
	m.Explained = "explained by exact Shapley values of its trees, in " + links[0].unit
	return true
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// times multiplies the sum of the trees by a factor.
func (e *explainer) times(factor float64) {
	if factor == 1 {
		return
	}
	e.base *= factor
	for i := range e.nodes {
		if e.nodes[i].feature < 0 {
			e.nodes[i].number *= factor
		}
	}
}
