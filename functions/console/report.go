package console

import (
	"context"
	"net/http"
	"sync"
	"time"

	"pitboss/internal/journal"
	"pitboss/internal/policy"
)

// reportFor is how long a report is shown before it is made anew: it reads the
// journal that is in Redis.
const reportFor = time.Minute

// report is feedback's: outcomes per action and arm, uplift against the
// holdout, from the journal in Redis (the last 48 hours; `pitboss report
// --segments` reads all of it).
type report struct {
	mu   sync.Mutex // held while one is made: a second asker gets the same
	made time.Time
	data policy.Report
}

func (r *report) get(ctx context.Context, j *journal.Journal, holdout float64, now time.Time) (policy.Report, time.Time, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.made.IsZero() && now.Sub(r.made) < reportFor {
		return r.data, r.made, nil
	}
	rows := policy.NewRows()
	err := j.Everything(ctx, journal.Segments{}, func(e *journal.Entry) error {
		switch e.Kind {
		case journal.KindDecision:
			return rows.Decision(e.KeyName, e.Open)
		case journal.KindOutcome:
			return rows.Outcome(e.Open)
		}
		return nil
	})
	if err != nil {
		return policy.Report{}, now, err
	}
	r.data, r.made = policy.MakeReport(rows.All(), holdout), now
	return r.data, r.made, nil
}

func (f *Function) showReport(w http.ResponseWriter, r *http.Request) {
	if f.store.journal == nil {
		failed(w, errNoStore)
		return
	}
	data, made, err := f.report.get(r.Context(), f.store.journal, readHoldout(f.cfg.ModelsDir), f.now())
	if err != nil {
		failed(w, err)
		return
	}
	answer(w, map[string]any{"made": made, "report": data})
}
