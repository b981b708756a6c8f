package model

import (
	"fmt"
	"math"
)

// extreme is the largest total that a feature can have: sums stop there.
const extreme = float64(math.MaxInt64)

// Probe scores rows that are rare in training data: all inputs 0, all inputs of a player
// of whom nothing is known (empty; nil: 0), unknown words, all inputs at an extreme, and
// each input alone at 0 or at an extreme while the others are the reference's. The error
// names the first row for which the model gives no finite score, or one outside of 0 to 1
// if all golden scores are inside.
func (m *Model) Probe(empty func(feature string) float64) error {
	if m.ranker != nil {
		return m.probeRanking()
	}
	features := m.Manifest.Columns()
	blank := make([]float64, len(features))
	if empty != nil {
		for i, name := range features {
			blank[i] = empty(name)
		}
	}
	p := prober{m: m, x: m.Manifest.reference(), y: make([]float64, m.outputs)}
	if p.x.Words != nil {
		p.x.Words = make([]string, m.columns)
		p.score("no word known")
		for i := range p.x.Words {
			p.x.Words[i] = "an unknown word"
		}
		p.score("unknown words")
		p.x.Words = m.Manifest.reference().Words
	}
	p.row("every feature 0", constant(0))
	p.row("every feature as of a player of whom nothing is known", func(i int) float64 { return blank[i] })
	reference := m.Manifest.reference().Numbers
	for _, v := range []float64{extreme, -extreme, 0} {
		p.row(fmt.Sprintf("every feature %g", v), constant(v))
		for n, name := range features {
			p.row(fmt.Sprintf("%s %g, the others as of the reference player", name, v), func(i int) float64 {
				if i == n {
					return v
				}
				return reference[i]
			})
		}
	}
	return p.err
}

// probeRanking probes a ranking with no game, with all games and with each game alone.
func (m *Model) probeRanking() error {
	p := prober{m: m, x: Row{Numbers: make([]float64, m.columns)}, y: make([]float64, m.outputs)}
	p.row("no game", constant(0))
	p.row("every game", constant(1))
	for n, item := range m.Manifest.Items {
		m.ranker.row([]string{item}, p.x.Numbers)
		p.score("the game " + m.Manifest.Items[n])
	}
	return p.err
}

func constant(v float64) func(int) float64 { return func(int) float64 { return v } }

// prober scores rows until one fails.
type prober struct {
	m   *Model
	x   Row
	y   []float64
	err error
}

func (p *prober) row(what string, value func(i int) float64) {
	for i := range p.x.Numbers {
		p.x.Numbers[i] = value(i)
	}
	p.score(what)
}

func (p *prober) score(what string) {
	if p.err != nil {
		return
	}
	if err := p.m.Score(p.x, p.y); err != nil {
		p.err = fmt.Errorf("probed with %s: %w", what, err)
	} else if p.m.ranker == nil && p.m.unit && (p.y[0] < 0 || p.y[0] > 1) {
		p.err = fmt.Errorf("probed with %s: the score is %g, and all golden scores are between 0 and 1", what, p.y[0])
	}
}
