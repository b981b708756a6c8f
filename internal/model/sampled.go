package model

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"math"
	"math/rand/v2"

	"github.com/cespare/xxhash/v2"
)

// sampler explains any model. It estimates Shapley values against the reference from
// random orders in which the columns change from the reference's value to the player's
// (Castro, Gómez and Tejada 2009). Each order is paired with its reverse (antithetic
// sampling: Mitchell et al. 2022). The seed depends only on the model and the row, so
// that an explanation can be repeated.
type sampler struct {
	reference Row
	base      float64 // the reference's score, in the unit of the effects
	odds      bool    // effects are in log-odds, else in the score's own unit
	orders    int
	seed      uint64
}

// defaultOrders is how many orders are drawn unless model.yaml says otherwise.
const defaultOrders = 16

func newSampler(m *Model) (*sampler, error) {
	s := &sampler{reference: m.Manifest.reference(), odds: m.unit, orders: m.Manifest.ExplainOrders}
	s.orders = cmp.Or(s.orders, defaultOrders)
	if sum, err := hex.DecodeString(m.Manifest.SHA256); err == nil && len(sum) >= 8 {
		s.seed = binary.LittleEndian.Uint64(sum)
	}
	y := make([]float64, m.outputs)
	if err := m.Score(s.reference, y); err != nil {
		return nil, err
	}
	s.base = s.effect(y[0])
	return s, nil
}

func (s *sampler) unit() string {
	if s.odds {
		return "log-odds"
	}
	return "the score's own unit"
}

// effect converts a score to the unit of the effects.
func (s *sampler) effect(score float64) float64 {
	const least = 1e-7 // keeps the log-odds of 0 and 1 finite
	if !s.odds {
		return score
	}
	p := min(max(score, least), 1-least)
	return math.Log(p / (1 - p))
}

// explain computes the effects of row.
func (s *sampler) explain(m *Model, row Row, ex *Explanation) error {
	var differ []int
	hash := s.seed
	for i, v := range row.Numbers {
		word := row.Words != nil && row.Words[i] != s.reference.Words[i]
		if v != s.reference.Numbers[i] || word {
			differ = append(differ, i)
			hash = hash*0x9e3779b97f4a7c15 ^ math.Float64bits(v)
			if word {
				hash ^= xxhash.Sum64String(row.Words[i])
			}
		}
	}
	n := len(differ)
	ex.Errors = sized(ex.Errors, m.columns)
	clear(ex.Errors)
	if n == 0 {
		return nil
	}
	rng := rand.New(rand.NewPCG(s.seed, hash))
	pairs := max(1, s.orders/2)
	sum, squares := make([]float64, m.columns), make([]float64, m.columns)
	both := make([]float64, m.columns)
	for range pairs {
		rng.Shuffle(n, func(a, b int) { differ[a], differ[b] = differ[b], differ[a] })
		clear(both)
		for range 2 {
			if err := s.order(m, row, differ, both); err != nil {
				return err
			}
			for a, b := 0, n-1; a < b; a, b = a+1, b-1 {
				differ[a], differ[b] = differ[b], differ[a]
			}
		}
		for _, i := range differ {
			v := both[i] / 2
			sum[i] += v
			squares[i] += v * v
		}
	}
	k := float64(pairs)
	for _, i := range differ {
		ex.Effects[i] = sum[i] / k
		if pairs > 1 {
			ex.Errors[i] = math.Sqrt(max(0, squares[i]-sum[i]*sum[i]/k) / (k - 1) / k)
		}
	}
	return nil
}

// order turns the reference into the row, column by column, and adds the change at each
// column to effects.
func (s *sampler) order(m *Model, row Row, columns []int, effects []float64) error {
	c, n := m.columns, len(columns)
	x, y := make([]float64, n*c), make([]float64, n*m.outputs)
	at := s.reference
	at.Numbers = append([]float64(nil), s.reference.Numbers...)
	at.Words = append([]string(nil), s.reference.Words...)
	for k, i := range columns {
		at.Numbers[i] = row.Numbers[i]
		if at.Words != nil {
			at.Words[i] = row.Words[i]
			if err := m.Score(at, y[k*m.outputs:]); err != nil {
				return err
			}
		}
		copy(x[k*c:], at.Numbers)
	}
	if at.Words == nil {
		if err := m.ScoreBatch(x, y); err != nil {
			return err
		}
	}
	before := s.base
	for k, i := range columns {
		after := s.effect(y[k*m.outputs])
		effects[i] += after - before
		before = after
	}
	return nil
}
