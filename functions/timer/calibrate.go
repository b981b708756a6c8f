package timer

import (
	"context"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"pitboss/internal/feature"
	"pitboss/internal/journal"
	"pitboss/internal/learn"
	"pitboss/internal/policy"
)

var (
	calibrationError = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "pitboss_calibration_error", Help: "Expected calibration error over the last 5,000 outcomes: raw, of the model's scores; decided, of the scores that decisions used; chance, of perfectly calibrated scores.",
	}, []string{"model", "version", "of"})
	calibrationOutcomes = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "pitboss_calibration_outcomes", Help: "Outcomes that the calibration of a model rests on.",
	}, []string{"model", "version"})
	calibrationAUC = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "pitboss_model_auc", Help: "Area under the ROC curve of a model's scores, over the last 5,000 outcomes.",
	}, []string{"model", "version"})
)

// calibratorFor is how long a model's outcomes are kept after its last score.
const calibratorFor = 30 * 24 * time.Hour

// tellNoCalibration leaves one series, so that an alert can tell a zero from a metric
// that is gone.
func tellNoCalibration() {
	calibrationError.Reset()
	calibrationOutcomes.Reset()
	calibrationAUC.Reset()
	tellCalibration(&journal.Calibration{Name: "none", Version: "none"})
}

// catchUp counts the entries that were journaled since the sums were stored.
func (l *labels) catchUp(ctx context.Context) error {
	return l.journal.EachSettled(ctx, l.state.Upto+1, func(seq uint64, s *journal.Settled) error {
		l.state.Upto = seq
		for i := range s.Rows {
			row := &s.Rows[i]
			shard, err := journal.ShardOf(row.Decision)
			if err != nil {
				return fmt.Errorf("timer: labels: %w", err)
			}
			if row.Seq <= l.state.Cursor[shard] {
				continue // an entry before has settled it
			}
			if err := l.count(ctx, shard, row); err != nil {
				return err
			}
			l.state.Cursor[shard] = max(l.state.Cursor[shard], row.Seq)
		}
		return nil
	})
}

// count adds the labels of a decision to the sums of the models that predicted them.
func (l *labels) count(ctx context.Context, shard int, row *journal.Came) error {
	what, ok := l.said[row.Decision]
	if !ok { // it was settled by an instance that ended before it stored the sums
		entries, err := l.journal.Places(ctx, []journal.Place{{Shard: shard, Seq: row.Seq}})
		if err != nil {
			return err
		}
		if entries[0] == nil || entries[0].Personal == nil {
			return nil
		}
		r, err := policy.Join(entries[0].Open, entries[0].Personal)
		if err != nil {
			return err
		}
		what = said{r.Input.AsOf, r.Input.Models}
	}
	for i := range what.runs {
		m := &what.runs[i]
		label := l.byScore[m.Output]
		if label == nil || m.Outside != "" {
			continue
		}
		v, settled := row.Labels[label.Name]
		if !settled {
			continue
		}
		c := l.state.Calibrators[m.SHA256]
		if c == nil {
			c = &modelCalibrator{Name: m.Name, Version: m.Version, Output: m.Output, Calibrator: learn.NewCalibrator()}
			l.state.Calibrators[m.SHA256] = c
		}
		c.Observe(what.at, m.Given(), m.Score, v > 0)
	}
	return nil
}

// keep stores the sums and the calibrations made from them.
func (l *labels) keep(ctx context.Context) error {
	fitted := map[string]journal.Calibration{}
	tellNoCalibration()
	for hash, c := range l.state.Calibrators {
		c.Forget()
		if l.f.now().Sub(c.Latest()) > calibratorFor {
			delete(l.state.Calibrators, hash)
			continue
		}
		fit := journal.Calibration{Name: c.Name, Version: c.Version, Output: c.Output, Label: labelOf(l.byScore, c.Output),
			Calibration: c.Fit(), Errors: c.Errors(), Seen: c.Seen(), At: l.f.now().UTC()}
		tellCalibration(&fit)
		fitted[hash] = fit
	}
	raw, err := json.Marshal(&l.state, json.Deterministic(true))
	if err != nil {
		return fmt.Errorf("timer: labels: %w", err)
	}
	return l.journal.KeepCalibrators(ctx, raw, fitted)
}

func labelOf(byScore map[string]*feature.Label, score string) string {
	if l := byScore[score]; l != nil {
		return l.Name
	}
	return ""
}

func tellCalibration(c *journal.Calibration) {
	calibrationError.WithLabelValues(c.Name, c.Version, "raw").Set(c.Errors.Raw)
	calibrationError.WithLabelValues(c.Name, c.Version, "decided").Set(c.Errors.Decided)
	calibrationError.WithLabelValues(c.Name, c.Version, "chance").Set(c.Errors.Chance)
	calibrationOutcomes.WithLabelValues(c.Name, c.Version).Set(float64(c.Seen))
	calibrationAUC.WithLabelValues(c.Name, c.Version).Set(c.Errors.AUC)
}
