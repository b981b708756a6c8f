package console

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"pitboss/internal/journal"
	"pitboss/internal/search"
)

// happened is one outcome of a decision.
type happened struct {
	Status string    `json:"status"` // delivered, accepted, dismissed, expired, revoked, overturned
	At     time.Time `json:"at"`
}

// settle adds an outcome to d, which nobody else may be reading.
func (d *decision) settle(h happened) {
	if search.Rank(h.Status) == 0 || slices.Contains(d.Happened, h) {
		return
	}
	d.Happened = append(slices.Clone(d.Happened), h)
	slices.SortFunc(d.Happened, func(a, b happened) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(search.Rank(a.Status), search.Rank(b.Status)))
	})
	if search.Rank(h.Status) > search.Rank(d.Status) {
		d.Status = h.Status
	}
}

// was reports whether d has an outcome of that status.
func (d *decision) was(status string) bool {
	return slices.ContainsFunc(d.Happened, func(h happened) bool { return h.Status == status })
}

// settle adds an outcome to a decision, if it is in memory.
func (ds *decisions) settle(id string, h happened) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	ds.settleLocked(id, h)
}

func (ds *decisions) settleLocked(id string, h happened) {
	d, ok := ds.byID[id]
	if !ok {
		return
	}
	c := *d // a page may be reading d
	c.settle(h)
	ds.replace(d, &c)
}

// taken is a decision that a revocation takes back. Action is empty if the decision
// is not in memory.
type taken struct {
	Decision  string `json:"decision"`
	Action    string `json:"action,omitzero"`
	Delivered bool   `json:"delivered,omitzero"`
}

// revoke marks each decision that a revocation takes back, and lists them in the
// revocation. ds.mu is held.
func (ds *decisions) revoke(revocation *decision) {
	status := "revoked"
	for _, r := range revocation.Reasons {
		if r.Code == "overturned" { // set by policy.Overturned
			status = "overturned"
		}
	}
	for _, id := range revocation.Revoked {
		back, ok := ds.byID[id]
		if !ok {
			revocation.Takes = append(revocation.Takes, taken{Decision: id})
			continue
		}
		revocation.Takes = append(revocation.Takes, taken{id, back.Action, back.was("delivered")})
		ds.settleLocked(id, happened{status, revocation.DecidedAt})
	}
}

// outcomeOf reads an outcome event.
func outcomeOf(s *seen) happened {
	return happened{strings.TrimSuffix(strings.TrimPrefix(s.Type, "pitboss.recommendation."), ".v1"), s.Time.UTC()}
}

// settledBy adds to d the outcomes that the journal has of it. The console's memory
// has only those since it started.
func (d *decision) settledBy(about []*journal.Entry) {
	for _, e := range about {
		var open struct {
			Status  string    `json:"status"`
			Verdict string    `json:"verdict"`
			Revoked []string  `json:"revoked"`
			At      time.Time `json:"at"`
		}
		if json.Unmarshal(e.Open, &open) != nil {
			continue
		}
		switch {
		case e.Kind == journal.KindOutcome:
			d.settle(happened{open.Status, open.At.UTC()})
		case e.Kind == journal.KindReview && open.Verdict == "overturned":
			d.settle(happened{"overturned", open.At.UTC()})
		case e.Kind == journal.KindRevoke && slices.Contains(open.Revoked, d.Decision):
			d.settle(happened{"revoked", e.Time.UTC()})
		}
	}
}
