package decide

import (
	"context"
	"maps"
	"slices"

	"pitboss/internal/event"
	"pitboss/internal/journal"
	"pitboss/internal/learn"
	"pitboss/internal/policy"
)

// calibrations holds the calibration of each model by its SHA-256.
type calibrations map[string]journal.Calibration

// takeCalibrations adopts the calibrations of now.
func (f *Function) takeCalibrations(ctx context.Context) error {
	now, err := f.journal.Calibrations(ctx)
	if err != nil {
		return err
	}
	all := calibrations(now)
	f.calibrations.Store(&all)
	return nil
}

// calibrate replaces the models' scores by calibrated ones. The input keeps the raw
// score and the calibration, so that the journal's record explains itself.
func (f *Function) calibrate(in *policy.Input) {
	all := f.calibrations.Load()
	if all == nil || len(*all) == 0 || slices.Contains(in.Killed, policy.Switch("model", policy.CalibrationModel)) {
		return
	}
	models, outputs := slices.Clone(in.Models), map[string]bool{}
	for i := range models {
		m := &models[i]
		c, ok := (*all)[m.SHA256]
		none := c.Calibration == (learn.Calibration{}) // too few outcomes are known
		if !ok || none || m.Outside != "" || m.Output != c.Output || m.Output == policy.HarmScore {
			continue
		}
		m.Calibrated = &event.Calibrated{Raw: m.Score, Slope: c.Slope, Offset: c.Offset}
		m.Score = c.Apply(m.Score)
		outputs[m.Output] = true
	}
	if len(outputs) == 0 {
		return
	}
	scores := maps.Clone(in.Scores)
	for output := range outputs {
		delete(scores, output)
	}
	for i := range models { // of several models with the same output the highest score counts, as in score
		m := &models[i]
		if was, said := scores[m.Output]; outputs[m.Output] && !m.Shadow && m.Outside == "" && (!said || m.Score > was) {
			scores[m.Output] = m.Score
		}
	}
	in.Models, in.Scores = models, scores
}
