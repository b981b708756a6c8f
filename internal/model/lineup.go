package model

import (
	"fmt"
	"sync/atomic"

	"pitboss/internal/event"
)

// Lineup is a set of models that serve together. One event is scored by one lineup. It is
// immutable; a reload builds another one.
//
// Invariants: a lineup holds one reference to each of its models from newLineup until its
// own count falls to 0. The count starts at 1, for the registry, and never rises again
// from 0. So whoever has acquired a lineup may use its models until the release, and a
// model is freed only when no lineup holds it.
type Lineup struct {
	entries []entry
	slots   map[string]int // by feature name: index into the parsed values
	names   []string       // feature names by slot
	refs    atomic.Int64
}

// entry is one model name's live and shadow models.
type entry struct {
	name   string
	live   *lineupModel
	shadow []*lineupModel
}

// lineupModel is a model with the slots from which its input columns are read.
type lineupModel struct {
	*Model
	columnNames []string
	columnSlots []int                       // -1: a word
	columnWords []func(*event.Facts) string // nil: a number
	words       bool                        // some column is a word
	metrics     *modelMetrics
}

// newLineup takes a reference to each model.
func newLineup(live map[string]*Model, shadow map[string][]*Model, names []string) *Lineup {
	l := &Lineup{slots: map[string]int{}}
	l.refs.Store(1)
	for _, name := range names {
		m, ok := live[name]
		if !ok {
			continue
		}
		e := entry{name: name, live: l.add(m, "live")}
		for _, s := range shadow[name] {
			e.shadow = append(e.shadow, l.add(s, "shadow"))
		}
		l.entries = append(l.entries, e)
	}
	return l
}

func (l *Lineup) add(m *Model, role string) *lineupModel {
	m.refs.Add(1)
	lm := &lineupModel{Model: m, columnNames: m.Manifest.Columns(), metrics: metricsOf(m.Manifest, role)}
	for _, f := range lm.columnNames {
		lm.columnWords = append(lm.columnWords, wordsOf[f])
		if isWord(f) {
			lm.words = true
			lm.columnSlots = append(lm.columnSlots, -1)
			continue
		}
		slot, ok := l.slots[f]
		if !ok {
			slot = len(l.names)
			l.slots[f] = slot
			l.names = append(l.names, f)
		}
		lm.columnSlots = append(lm.columnSlots, slot)
	}
	return lm
}

// acquire takes a reference. It returns false if the lineup has already been freed.
func (l *Lineup) acquire() bool {
	for {
		n := l.refs.Load()
		if n == 0 {
			return false
		}
		if l.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// release gives a reference back. The last one releases the models and frees those that
// no other lineup holds.
func (l *Lineup) release() error {
	if l.refs.Add(-1) > 0 {
		return nil
	}
	var err error
	l.each(func(m *lineupModel, _ bool) {
		if m.refs.Add(-1) == 0 {
			if e := m.Close(); e != nil {
				err = fmt.Errorf("score: free %s: %w", m.Manifest.Key(), e)
			}
		}
	})
	return err
}

func (l *Lineup) each(fn func(m *lineupModel, shadow bool)) {
	for _, e := range l.entries {
		fn(e.live, false)
		for _, s := range e.shadow {
			fn(s, true)
		}
	}
}
