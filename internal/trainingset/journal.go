package trainingset

import (
	"context"
	"math"
	"time"

	"pitboss/internal/event"
	"pitboss/internal/journal"
	"pitboss/internal/policy"
)

// JournalTotals counts the decisions and rows of a run over the journal.
type JournalTotals struct {
	Decisions int64
	Rows      int64
	Players   int64
	Settled   int64 // rows with a known label
	Erased    int64 // left out: the player was erased, and the decision's input too
	Other     int64 // left out: made with another features.yaml
	Settlings int64 // decisions whose labels are in the journal
}

// FromJournal writes a row for each decision since a time: the features that it was made
// on, and the labels that timer has settled and journaled since. A label that serving does
// not settle is unknown.
//
// Memory is bounded by the number of decisions with labels in the journal: about 50 bytes
// each.
func FromJournal(ctx context.Context, j *journal.Journal, written journal.Segments, since time.Time, opt Options, sink Sink) (t JournalTotals, err error) {
	names := map[string]int{}
	for i, l := range opt.Labels {
		names[l.Name] = i
	}
	came := map[uint64][]float32{} // by decision, then by label; NaN: unknown
	err = j.SettledIn(ctx, written, func(s *journal.Settled) error {
		if s.At.Before(since) {
			return nil
		}
		for _, row := range s.Rows {
			key := policy.DecisionKey(row.Decision)
			if came[key] != nil {
				continue // the first counts
			}
			values := make([]float32, len(opt.Labels))
			for i := range values {
				values[i] = float32(math.NaN())
			}
			for name, v := range row.Labels {
				if i, ok := names[name]; ok {
					values[i] = float32(v)
				}
			}
			came[key] = values
			t.Settlings++
		}
		return nil
	})
	if err != nil {
		return t, err
	}
	players := map[uint64]bool{}
	row := Row{Labels: make([]LabelValue, len(opt.Labels))}
	err = j.Opened(ctx, written, since, func(e *journal.Entry) error {
		if e.Kind != journal.KindDecision {
			return nil
		}
		t.Decisions++
		if e.Personal == nil {
			t.Erased++
			return nil
		}
		r, err := policy.Join(e.Open, e.Personal)
		if err != nil {
			return err
		}
		in := &r.Input
		if in.FeatureSet != opt.Set.Hash() || len(in.Missing) > 0 || len(in.Features) != len(opt.Set.Names()) {
			t.Other++
			return nil
		}
		row = Row{Player: event.HashPlayer(in.Player), Time: in.AsOf, ID: in.Trigger.ID, Type: in.Trigger.Type,
			Games: in.Facts.RecentGames, Vector: in.Features, Labels: row.Labels}
		clear(row.Labels)
		values, settled := came[policy.DecisionKey(in.Decision)]
		for i := range values {
			if v := float64(values[i]); !math.IsNaN(v) {
				row.Labels[i].Known, row.Labels[i].Number = true, v
			}
		}
		if settled {
			t.Settled++
		}
		t.Rows++
		players[policy.DecisionKey(in.Player)] = true
		t.Players = int64(len(players))
		return sink.Write(&row)
	})
	return t, err
}
