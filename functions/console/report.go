package console

import (
	"context"
	"net/http"
	"sync"
	"time"

	"pitboss/internal/journal"
	"pitboss/internal/policy"
	"pitboss/internal/search"
)

// reportFor is how long a report is shown before it is made again, since it reads the
// whole journal in Redis.
const reportFor = time.Minute

// report says what each action achieved, by the goal of its kind. It covers the
// journal in Redis, which is the last 48 hours; `pitboss report --segments` covers
// all of it.
type report struct {
	mu   sync.Mutex // held while a report is made, so that a second request gets the same one
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
	rows, err := search.Report(ctx, f.store.journal, journal.Segments{}, in.policy)
	if err != nil {
		return policy.Report{}, now, err
	}
	r.data, r.made = rows.Report(), now
	return r.data, r.made, nil
}

func (f *Function) showReport(w http.ResponseWriter, r *http.Request) (any, error) {
	data, made, err := f.makeReport(r.Context())
	return map[string]any{"made": made, "report": data}, err
}
