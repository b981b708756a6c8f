package console

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"pitboss/internal/journal"
	"pitboss/internal/policy"
)

// reportFor is how long a report is shown before it is made anew: it reads the
// journal that is in Redis.
const reportFor = time.Minute

// report is what each action was worth by what its kind is for, from the journal
// in Redis (the last 48 hours; `pitboss report --segments` reads all of it).
type report struct {
	mu   sync.Mutex // held while one is made: a second asker gets the same
	made time.Time
	data policy.Report
}

func (f *Function) makeReport(ctx context.Context) (policy.Report, time.Time, error) {
	r, now := &f.report, f.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.made.IsZero() && now.Sub(r.made) < reportFor {
		return r.data, r.made, nil
	}
	in, err := f.readPolicy(ctx)
	if err != nil {
		return policy.Report{}, now, err
	}
	rows := policy.NewRows(in.policy)
	features := f.featuresOf(ctx)
	err = f.store.journal.Opened(ctx, journal.Segments{}, time.Time{}, func(e *journal.Entry) error {
		switch e.Kind {
		case journal.KindDecision:
			return rows.Decision(e.KeyName, e.Open, e.Personal, features)
		case journal.KindOutcome:
			return rows.Outcome(e.Open)
		}
		return nil
	})
	if err != nil {
		return policy.Report{}, now, err
	}
	r.data, r.made = rows.Report(), now
	return r.data, r.made, nil
}

// featuresOf tells the features, in order, of the policy with a hash; nil where
// nobody knows them any more.
func (f *Function) featuresOf(ctx context.Context) func(hash string) ([]string, error) {
	known := map[string][]string{}
	return func(hash string) ([]string, error) {
		if names, ok := known[hash]; ok {
			return names, nil
		}
		text, err := f.store.journal.Document(ctx, hash)
		if err != nil && !errors.Is(err, journal.ErrNotFound) {
			return nil, err
		}
		if err == nil {
			known[hash], err = policy.DocumentFeatures(text)
		} else {
			known[hash], err = nil, nil
		}
		return known[hash], err
	}
}

func (f *Function) showReport(w http.ResponseWriter, r *http.Request) (any, error) {
	if f.store.journal == nil {
		return nil, errNoStore
	}
	data, made, err := f.makeReport(r.Context())
	return map[string]any{"made": made, "report": data}, err
}
