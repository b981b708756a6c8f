package model

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"pitboss/internal/event"
)

// Scorer scores players with the models of a [Registry].
type Scorer struct {
	models  *Registry
	reasons int
}

// NewScorer returns a scorer. It names, for each live model, the features that moved its
// score most: at most `reasons` of them, none for 0.
func NewScorer(models *Registry, reasons int) *Scorer {
	return &Scorer{models: models, reasons: reasons}
}

// scratch is the memory of one scoring, reused.
type scratch struct {
	values []float64 // by slot of the lineup
	row    Row
	y      []float64
	why    Explanation
	order  []int
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// Score fills out from in: in itself, the scores of the live models, the run of each
// model with its contributions, and the ranking of next games. If a model's input or
// output is not finite, its score is left out and counted, and the decision is made
// without it. If a live model lacks a feature, the event fails with the permanent error
// [ErrMissingFeature], because the event will not change; a shadow that lacks one is left
// out and counted.
func (s *Scorer) Score(in *event.PlayerUpdated, out *event.PlayerScored) error {
	lineup := s.models.acquire()
	if lineup == nil {
		return ErrNotLoaded
	}
	err := s.score(lineup, in, out)
	return errors.Join(err, lineup.release())
}

func (s *Scorer) score(lineup *Lineup, in *event.PlayerUpdated, out *event.PlayerScored) error {
	sc := scratches.Get().(*scratch)
	defer scratches.Put(sc)
	if err := sc.parse(lineup, in.Features); err != nil {
		return event.Permanent(err)
	}
	out.PlayerUpdated = *in
	out.Scores = make(map[string]float64, len(lineup.entries))
	out.Models = make([]event.ModelRun, 0, len(lineup.entries))
	for i := range lineup.entries {
		e := &lineup.entries[i]
		if e.live.ranker != nil {
			if err := sc.rank(e.live, in.Facts, out); err != nil {
				return err
			}
			continue
		}
		live, err := sc.run(lineup, e.live, in, s.reasons)
		if err != nil {
			e.live.metrics.errors.Inc()
			if noScore(err) {
				continue
			}
			return err
		}
		if live.Outside == "" {
			setScore(out.Scores, live.Output, live.Score)
		}
		out.Models = append(out.Models, live)
		for _, m := range e.shadow {
			run, err := sc.run(lineup, m, in, 0)
			if err != nil {
				m.metrics.errors.Inc()
				continue
			}
			run.Shadow = true
			if live.Outside == "" && run.Outside == "" {
				compareShadow(e.live, m, live.Score, run.Score)
			}
			out.Models = append(out.Models, run)
		}
	}
	return nil
}

// setScore sets a score. Two models may give the same score for different players. If
// both give it for a player, the higher counts, which is the safer one for harm.
func setScore(scores map[string]float64, output string, score float64) {
	if was, ok := scores[output]; !ok || score > was {
		scores[output] = score
	}
}

// noScore reports whether a model has no score for the player, as opposed to a fault that
// may be gone at a retry.
func noScore(err error) bool { return errors.Is(err, ErrNoScore) || errors.Is(err, ErrNotFinite) }

// parse reads the features that the lineup's models need, in one pass. An absent feature
// stays NaN.
func (sc *scratch) parse(lineup *Lineup, features jsontext.Value) error {
	sc.values = sized(sc.values, len(lineup.names))
	for i := range sc.values {
		sc.values[i] = math.NaN()
	}
	if sc.asWritten(lineup, features) {
		return nil
	}
	var all map[string]jsontext.Value
	if err := json.Unmarshal(features, &all, jsontext.AllowDuplicateNames(true)); err != nil || all == nil {
		return errors.New("score: features must be a JSON object of numbers")
	}
	for slot, name := range lineup.names {
		val, ok := all[name]
		if !ok {
			continue
		}
		if val.Kind() != '0' {
			return fmt.Errorf("score: feature %s must be a number, is %s", name, val)
		}
		// A number beyond the range of float64 becomes infinite: models that need it give no score.
		sc.values[slot], _ = strconv.ParseFloat(string(val), 64)
	}
	return nil
}

// asWritten is the fast path of parse: it reads features in the form in which
// feature.Set.AppendJSON writes them. It returns false if they have another form.
func (sc *scratch) asWritten(lineup *Lineup, b []byte) bool {
	for {
		name, number, rest, ok := event.NextFeature(b)
		if !ok {
			return false
		}
		if slot, wanted := lineup.slots[string(name)]; wanted { // no alloc
			v, err := strconv.ParseFloat(string(number), 64)
			if err != nil {
				return false
			}
			sc.values[slot] = v
		}
		if rest[0] == '}' {
			return len(rest) == 1
		}
		b = rest
	}
}

// run scores the player by one probability model and lists the top contributions.
func (sc *scratch) run(lineup *Lineup, m *lineupModel, in *event.PlayerUpdated, top int) (event.ModelRun, error) {
	if err := sc.fill(lineup, m, in); err != nil {
		return event.ModelRun{}, event.Permanent(err)
	}
	man := m.Manifest
	if why, by := m.outside(sc.row.Numbers, &in.Facts); why != "" {
		m.metrics.outside.WithLabelValues(by).Inc()
		run := man.unscored()
		run.Outside, run.TooNew = why, by == tooNew
		return run, nil
	}
	start := time.Now()
	if err := m.Score(sc.row, sc.y); err != nil {
		return event.ModelRun{}, err
	}
	m.metrics.seconds.Observe(time.Since(start).Seconds())
	score := sc.y[0]
	m.metrics.value.Observe(score)
	m.drift.observe(sc.row.Numbers)
	run := man.unscored()
	run.Score = score
	if top > 0 {
		start = time.Now()
		explained, err := m.Explain(sc.row, &sc.why)
		if err != nil {
			return event.ModelRun{}, fmt.Errorf("score: explain %s: %w", man.Key(), err)
		}
		if explained {
			run.Contributions = sc.contributions(m, top)
			m.metrics.explain.Observe(time.Since(start).Seconds())
		}
	}
	return run, nil
}

// unscored returns a run of the model without a score.
func (m *Manifest) unscored() event.ModelRun {
	return event.ModelRun{Name: m.Name, Version: m.Version, SHA256: m.SHA256, Output: m.Output}
}

// fill sets the model's row from the values and the player's facts.
func (sc *scratch) fill(lineup *Lineup, m *lineupModel, in *event.PlayerUpdated) error {
	sc.row.Numbers, sc.y = sized(sc.row.Numbers, m.columns), sized(sc.y, m.outputs)
	sc.row.Words = nil
	if m.words {
		sc.row.Words = make([]string, m.columns)
	}
	for i, slot := range m.columnSlots {
		if slot < 0 {
			sc.row.Numbers[i], sc.row.Words[i] = 0, m.columnWords[i](&in.Facts)
			continue
		}
		v := sc.values[slot]
		if math.IsNaN(v) {
			return fmt.Errorf("%w: %s, for model %s", ErrMissingFeature, lineup.names[slot], m.Manifest.Key())
		}
		sc.row.Numbers[i] = v
	}
	return nil
}

// contributions returns the top features by how far they moved the score.
func (sc *scratch) contributions(m *lineupModel, top int) []event.Contribution {
	effects := sc.why.Effects
	sc.order = sc.order[:0]
	for i := range effects {
		if m.columnSlots[i] >= 0 { // contributions have numbers: columns of words are left out
			sc.order = append(sc.order, i)
		}
	}
	slices.SortStableFunc(sc.order, func(a, b int) int {
		return cmp.Compare(math.Abs(effects[b]), math.Abs(effects[a]))
	})
	out := make([]event.Contribution, 0, top)
	for _, i := range sc.order[:min(top, len(sc.order))] {
		if effects[i] == 0 {
			break
		}
		c := event.Contribution{Feature: m.columnNames[i], Value: sc.values[m.columnSlots[i]], Effect: effects[i]}
		if sc.why.Errors != nil {
			c.Error = sc.why.Errors[i]
		}
		out = append(out, c)
	}
	return out
}

// sized returns s with length n and undefined contents.
func sized[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
