package journal

import (
	"context"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"

	"pitboss/internal/learn"
	"pitboss/internal/redisdb"
)

// Settled holds the labels (labels.yaml) of some decisions, as they are in the journal.
// Like an outcome it names decisions and no person.
type Settled struct {
	At   time.Time `json:"at"`
	Rows []Came    `json:"rows"` // within a shard in the order of its entries
}

// Came holds the labels of one decision. If there are two for a decision, the first counts.
type Came struct {
	Decision string             `json:"decision"`
	Seq      uint64             `json:"seq"` // of the decision's entry
	Labels   map[string]float64 `json:"labels"`
}

// KeepLabels journals the labels of decisions.
func (j *Journal) KeepLabels(ctx context.Context, s *Settled) error {
	open, err := json.Marshal(s)
	if err != nil {
		return failed("labels", err)
	}
	return j.recordIn(ctx, Labels, &Draft{Kind: KindLabel, Time: s.At, Open: open})
}

// EachSettled calls visit with the labels in Redis from sequence number from on, in order.
func (j *Journal) EachSettled(ctx context.Context, from uint64, visit func(seq uint64, s *Settled) error) error {
	return j.Each(ctx, Labels, from, true, func(e *Entry) error {
		s, err := readSettled(e)
		if s == nil || err != nil {
			return err
		}
		return visit(e.Seq, s)
	})
}

// SettledIn calls visit with all labels, in segments and then in Redis, in order.
func (j *Journal) SettledIn(ctx context.Context, written Segments, visit func(s *Settled) error) error {
	last := uint64(0)
	take := func(raw, hash []byte) error {
		e, err := parseEntry(Labels, raw, hash, nil)
		if err != nil {
			return err
		}
		last = e.Seq
		s, err := readSettled(e)
		if s == nil || err != nil {
			return err
		}
		return visit(s)
	}
	if err := written.of(Labels, take); err != nil {
		return err
	}
	return j.raw(ctx, Labels, last+1, func(_ string, raw, hash []byte) error { return take(raw, hash) })
}

// readSettled returns nil for an entry of another kind.
func readSettled(e *Entry) (*Settled, error) {
	if e.Kind != KindLabel {
		return nil, nil
	}
	s := &Settled{}
	if err := json.Unmarshal(e.Open, s); err != nil {
		return nil, fmt.Errorf("journal: labels: entry %d: %w", e.Seq, err)
	}
	return s, nil
}

// Calibration is the current calibration of a model's scores.
type Calibration struct {
	Name              string `json:"name"`
	Version           string `json:"version"`
	Output            string `json:"output"`
	Label             string `json:"label"`
	learn.Calibration `json:",inline"`
	Errors            learn.Errors `json:"errors"`
	Seen              int64        `json:"seen"` // how many outcomes it is fitted to
	At                time.Time    `json:"at"`
}

const (
	calibrationKey  = "{labels}:calibration"
	calibratorsKey  = "{labels}:calibrators"
	calibrationsFor = 7 * 24 * time.Hour // an older calibration may be wrong by now
)

// KeepCalibrators stores the state of the calibrators, which is opaque here, and the
// calibrations, by the model's SHA-256.
func (j *Journal) KeepCalibrators(ctx context.Context, state []byte, fitted map[string]Calibration) error {
	text, err := json.Marshal(fitted, json.Deterministic(true))
	if err != nil {
		return failed("calibration", err)
	}
	_, err = j.rdb.Pipelined(ctx, func(p redisdb.Pipeliner) error {
		p.Set(ctx, calibratorsKey, state, 0)
		p.Set(ctx, calibrationKey, text, calibrationsFor)
		return nil
	})
	return failed("calibration", err)
}

// Calibrators returns the state that KeepCalibrators stored, or nil.
func (j *Journal) Calibrators(ctx context.Context) ([]byte, error) {
	return j.get(ctx, "calibrators", calibratorsKey)
}

// Calibrations returns the current calibrations, by the model's SHA-256.
func (j *Journal) Calibrations(ctx context.Context) (out map[string]Calibration, err error) {
	_, err = j.getJSON(ctx, "calibration", calibrationKey, &out)
	return out, err
}
