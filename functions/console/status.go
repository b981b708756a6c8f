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

// happened is one thing that became of a decision.
type happened struct {
	Status string    `json:"status"` // delivered, accepted, dismissed, expired, revoked, overturned
	At     time.Time `json:"at"`
}

// settle notes what became of d. d must not be shared yet, or be a copy.
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

// was reports whether that happened to d.
func (d *decision) was(status string) bool {
	return slices.ContainsFunc(d.Happened, func(h happened) bool { return h.Status == status })
}

// settle notes what became of a decision, if it is kept.
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

// taken is a decision that a revocation takes back; Action is empty where the
// decision is not among those that are kept.
type taken struct {
	Decision  string `json:"decision"`
	Action    string `json:"action,omitzero"`
	Delivered bool   `json:"delivered,omitzero"`
}

// revoke notes a revocation with each decision that it takes back, and with the
// revocation which those are. ds.mu is held.
func (ds *decisions) revoke(revocation *decision) {
	status := "revoked"
	for _, r := range revocation.Reasons {
		if r.Code == "overturned" { // policy.Overturned says so
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

// outcomeOf is what an outcome event says became of a decision.
func outcomeOf(s *seen) happened {
	return happened{strings.TrimSuffix(strings.TrimPrefix(s.Type, "pitboss.recommendation."), ".v1"), s.Time.UTC()}
}

// settledBy adds to d what the journal's entries about it say: the console's
// own memory begins when it starts.
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
