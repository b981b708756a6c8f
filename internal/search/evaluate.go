package search

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pitboss/internal/journal"
	"pitboss/internal/policy"
)

// ErrEnough ends a backtest that has tried as many decisions as it may.
var ErrEnough = errors.New("search: enough decisions were tried")

// FeatureNames returns a lookup of the features, in order, of the policy with a hash.
// It reads the policies that the journal keeps, and knows those given. The lookup
// returns nil for a policy that is in neither.
func FeatureNames(ctx context.Context, j *journal.Journal, known ...*policy.Policy) func(hash string) ([]string, error) {
	names := map[string][]string{}
	for _, p := range known {
		names[p.Hash()] = p.FeatureNames()
	}
	return func(hash string) ([]string, error) {
		if names, ok := names[hash]; ok {
			return names, nil
		}
		text, err := j.Document(ctx, hash)
		if err != nil && !errors.Is(err, journal.ErrNotFound) {
			return nil, err
		}
		var found []string
		if err == nil {
			if found, err = policy.DocumentFeatures(text); err != nil {
				return nil, err
			}
		}
		names[hash] = found
		return found, nil
	}
}

// Report joins the decisions in Redis and in written with their outcomes. It tells
// players apart by the names of their sealing keys, so it reads no player's id.
func Report(ctx context.Context, j *journal.Journal, written journal.Segments, p *policy.Policy) (*policy.Rows, error) {
	rows, names := policy.NewRows(p), FeatureNames(ctx, j)
	err := j.Opened(ctx, written, time.Time{}, func(e *journal.Entry) error {
		switch e.Kind {
		case journal.KindDecision:
			return rows.Decision(e.KeyName, e.Open, e.Personal, names)
		case journal.KindOutcome:
			return rows.Outcome(e.Open)
		}
		return nil
	})
	return rows, err
}

// Backtest makes the decisions in Redis since a time again under p. It stops with
// ErrEnough after most decisions (0: no bound), and with ctx's error when that ends;
// what was tried until then is in the result. known are policies that the journal may
// not keep.
func Backtest(ctx context.Context, j *journal.Journal, p *policy.Policy, since time.Time, most int, known ...*policy.Policy) (*policy.Backtest, error) {
	b, lookup := policy.NewBacktest(), FeatureNames(ctx, j, known...)
	names := func(hash string) ([]string, error) {
		found, err := lookup(hash)
		if found == nil && err == nil {
			err = fmt.Errorf("%w: policy %s", journal.ErrNotFound, hash)
		}
		return found, err
	}
	shards, err := j.Shards(ctx)
	for i := 0; err == nil && i < len(shards); i++ {
		err = j.Each(ctx, shards[i], 0, false, func(e *journal.Entry) error {
			switch {
			case e.Kind != journal.KindDecision || e.Time.Before(since):
				return nil
			case most > 0 && b.Decisions >= most:
				return ErrEnough
			case ctx.Err() != nil:
				return ctx.Err()
			}
			return b.Entry(p, e.Open, e.Personal, names)
		})
	}
	return b, err
}
