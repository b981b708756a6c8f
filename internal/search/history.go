package search

import (
	"context"
	"slices"
	"time"
)

// Bucket counts the decisions in one step of time.
type Bucket struct {
	At      time.Time `json:"at"`
	Issued  int64     `json:"issued"`
	Blocked int64     `json:"blocked"`
	Nothing int64     `json:"nothing"` // no action was eligible
}

// nothingEligible is the reason code of a decision without candidates.
const nothingEligible = "nothing-eligible"

// bucketsMost bounds an answer.
const bucketsMost = 1000

// History counts the decisions of a query by steps of time, from q.From to q.To.
func (x *Index) History(ctx context.Context, q Query, step time.Duration) ([]Bucket, error) {
	if q.From.IsZero() || q.To.IsZero() || step <= 0 || q.To.Sub(q.From)/step > bucketsMost {
		return nil, ErrQuery
	}
	if _, err := x.catchUp(ctx); err != nil {
		return nil, err
	}
	sc, err := x.prepare(ctx, &q)
	if err != nil {
		return nil, err
	}
	n := int((q.To.Sub(q.From) + step - 1) / step)
	out := make([]Bucket, n)
	for i := range out {
		out[i].At = q.From.Add(time.Duration(i) * step)
	}
	if sc == nil {
		return out, nil
	}
	x.mu.RLock()
	defer x.mu.RUnlock()
	sc.history(&x.tail, step, out)
	for _, s := range x.files {
		sc.history(&s.columns, step, out)
	}
	return out, nil
}

func (sc *scan) history(c *columns, step time.Duration, out []Bucket) {
	fails := sc.failing(c)
	nothing := make([]bool, len(c.profiles))
	for n := range c.profiles {
		nothing[n] = slices.Equal(c.profiles[n].Rules, []string{nothingEligible})
	}
	lo, hi := sc.rows(c)
	for i := lo; i < hi; i++ {
		p := c.profile[i]
		if fails[p] != 0 || sc.byKey && c.key[i] != sc.key || !sc.outcomeFits(c.outcome[i]) {
			continue
		}
		b := &out[(c.when(i)-sc.from)/step.Milliseconds()]
		switch {
		case c.profiles[p].Verdict == "issued":
			b.Issued++
		case nothing[p]:
			b.Nothing++
		default:
			b.Blocked++
		}
	}
}
