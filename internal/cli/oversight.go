package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"pitboss/internal/feature"
	"pitboss/internal/journal"
	"pitboss/internal/policy"
	"pitboss/internal/setup"
)

// oversight holds what the compliance commands read: the journal in Redis, its segments,
// and the policy.
type oversight struct {
	redis, segments, models string

	rdb      setup.Client
	journal  *journal.Journal
	policies map[string]*policy.Policy // by hash: what policyOf has found
}

// flags adds the flags that say where to read.
func (o *oversight) flags(cmd *cobra.Command) {
	f := cmd.PersistentFlags()
	f.StringVar(&o.redis, "redis", redisURL(), "where the journal is")
	f.StringVar(&o.segments, "segments", env("PITBOSS_SEGMENTS", ""), "folder of the journal's Parquet segments")
	f.StringVar(&o.models, "models", env("MODELS_DIR", "models"), "folder of features.yaml, actions.yaml and rules")
}

// open connects to Redis. The caller closes rdb.
func (o *oversight) open(ctx context.Context) (err error) {
	if o.rdb, err = openRedis(ctx, o.redis); err != nil {
		return err
	}
	o.journal, o.policies = journal.New(o.rdb, 1), map[string]*policy.Policy{}
	return nil
}

// written opens the folder of the segments.
func (o *oversight) written() (journal.Segments, error) {
	s, err := journal.OpenSegments(o.segments)
	if err != nil {
		return s, fmt.Errorf("--segments: %w", err)
	}
	return s, nil
}

// propose stores a change until a second person approves it. settled is true if one person
// is enough, so that the change is to be made now.
func (o *oversight) propose(cmd *cobra.Command, p journal.Proposal) (id string, settled bool, err error) {
	n, err := o.journal.Approvers(cmd.Context())
	if n == 1 || err != nil {
		return "", true, err
	}
	p.Until = p.At.Add(proposalsFor)
	p, err = o.journal.Propose(cmd.Context(), p)
	return p.ID, false, err
}

// connected returns a command that runs f with the journal open.
func (o *oversight) connected(f func(cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if err := o.open(cmd.Context()); err != nil {
			return err
		}
		defer o.rdb.Close()
		return f(cmd, args)
	}
}

// policy loads the policy of the models folder.
func (o *oversight) policy() (*policy.Policy, *feature.Set, error) { return loadPolicy(o.models) }

// loadPolicy loads the policy and the features of a models folder.
func loadPolicy(models string) (*policy.Policy, *feature.Set, error) {
	set, err := loadFeatures(models)
	if err != nil {
		return nil, nil, err
	}
	p, err := policy.Load(models, set.Names())
	return p, set, err
}

// find looks a decision up in Redis and in the segments.
func (o *oversight) find(ctx context.Context, id string) (*policy.Record, []*journal.Entry, error) {
	written, err := o.written()
	if err != nil {
		return nil, nil, err
	}
	e, about, err := o.journal.Find(ctx, written, id)
	if errors.Is(err, journal.ErrNotFound) {
		where := "--segments is not given: an older decision is in the folder that `journal write` fills"
		if o.segments != "" {
			where = "nor in " + o.segments
		}
		return nil, nil, fmt.Errorf("%w: it is not in Redis, %s", err, where)
	}
	if err != nil {
		return nil, nil, err
	}
	r, err := policy.Join(e.Open, e.Personal)
	return r, about, err
}

// policyOf returns the policy with a hash: from the journal, or the one of the models
// folder if that has the same hash.
func (o *oversight) policyOf(ctx context.Context, hash string) (*policy.Policy, error) {
	if p := o.policies[hash]; p != nil {
		return p, nil
	}
	doc, err := o.journal.Document(ctx, hash)
	if err == nil {
		o.policies[hash], err = policy.ParseDocument(doc)
		return o.policies[hash], err
	}
	if p, _, err := o.policy(); err == nil && p.Hash() == hash {
		o.policies[hash] = p
		return p, nil
	}
	return nil, fmt.Errorf("policy %s is neither in the journal nor in %s: %w", hash, o.models, err)
}
