package console

import (
	"cmp"
	"slices"
	"sort"
	"strconv"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"pitboss/internal/event"
	"pitboss/internal/search"
)

// decision is a decision, or a revocation of some, as the page shows it.
type decision struct {
	event.Recommendation
	ID           string    `json:"id"` // the event's id
	Seq          int64     `json:"seq"`
	Player       string    `json:"player"`
	Jurisdiction string    `json:"jurisdiction"`
	Brand        string    `json:"brand,omitzero"`
	Verdict      string    `json:"verdict"` // issued | suppressed | revoked
	Words        string    `json:"words"`
	Trace        string    `json:"trace,omitzero"`
	TotalMs      float64   `json:"total_ms,omitzero"` // from the POST of the triggering event until the Broker accepted the decision
	Received     time.Time `json:"received,omitzero"`

	Deadline time.Time  `json:"deadline,omitzero"` // for its review
	Erased   bool       `json:"erased,omitzero"`
	Status   string     `json:"status,omitzero"` // the outcome that counts most: search.Rank
	Happened []happened `json:"happened,omitempty"`
	Takes    []taken    `json:"takes,omitempty"` // the decisions that a revocation takes back

	at time.Time
}

// blockedBy names the rule, or the reason, that held back the best action.
func (d *decision) blockedBy() (id, text string) {
	for _, b := range d.Blocked {
		if b.Action == d.Action {
			return b.Rule, b.Text
		}
	}
	if len(d.Blocked) > 0 {
		return d.Blocked[0].Rule, d.Blocked[0].Text
	}
	if len(d.Reasons) > 0 {
		return d.Reasons[0].Code, d.Reasons[0].Text
	}
	return "no-reason", ""
}

// decisions keeps the newest decisions in a ring. The journal has all of them.
type decisions struct {
	mu   sync.Mutex
	ring []*decision
	next int64
	byID map[string]*decision // by the event's id and by the decision's
}

func newDecisions(size int) *decisions {
	return &decisions{ring: make([]*decision, max(1, size)), byID: map[string]*decision{}}
}

// add remembers the decision in s, or returns nil if it cannot be read.
func (ds *decisions) add(s *seen) *decision {
	d := &decision{ID: s.ID, Player: s.Player, Jurisdiction: s.Jurisdiction, Brand: s.Brand, Trace: s.Trace, Received: s.Received, at: s.At}
	if err := json.Unmarshal(s.Data, &d.Recommendation); err != nil {
		return nil
	}
	switch s.Type {
	case event.TypeRecommendation:
		d.Verdict = "issued"
	case event.TypeSuppressed:
		d.Verdict = "suppressed"
	default:
		d.Verdict = "revoked"
	}
	if !s.Received.IsZero() {
		done := s.Arrived
		if done.IsZero() {
			done = s.At
		}
		d.TotalMs = float64(done.Sub(s.Received).Microseconds()) / 1000
	}
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if d.Verdict == "revoked" {
		ds.revoke(d)
	}
	d.Words = words(d)
	ds.next++
	d.Seq = ds.next
	slot := &ds.ring[d.Seq%int64(len(ds.ring))]
	if old := *slot; old != nil {
		ds.unindex(old)
	}
	*slot = d
	ds.byID[d.ID] = d
	if d.Verdict != "revoked" { // a revocation repeats the id of what it revokes
		ds.byID[d.Decision] = d
	}
	return d
}

// replace puts a changed copy in a decision's place. ds.mu is held.
func (ds *decisions) replace(old, changed *decision) {
	if slot := &ds.ring[old.Seq%int64(len(ds.ring))]; *slot == old {
		*slot = changed
	}
	for _, id := range []string{old.ID, old.Decision} {
		if ds.byID[id] == old {
			ds.byID[id] = changed
		}
	}
}

func (ds *decisions) unindex(d *decision) {
	for _, id := range []string{d.ID, d.Decision} {
		if ds.byID[id] == d {
			delete(ds.byID, id)
		}
	}
}

// get finds a decision by its id or by its event's id.
func (ds *decisions) get(id string) (*decision, bool) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	d, ok := ds.byID[id]
	return d, ok
}

// forget drops an erased player's decisions.
func (ds *decisions) forget(player string) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	for i, d := range ds.ring {
		if d != nil && d.Player == player {
			ds.unindex(d)
			ds.ring[i] = nil
		}
	}
}

// since returns the issued and the suppressed decisions newer than seq, newest
// first, up to max of each, and the newest seq.
func (ds *decisions) since(seq int64, max int) (issued, suppressed []*decision, last int64) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	for n := ds.next; n > seq && n > ds.next-int64(len(ds.ring)); n-- {
		d := ds.ring[n%int64(len(ds.ring))]
		switch {
		case d == nil:
		case d.Verdict == "issued" && len(issued) < max:
			issued = append(issued, d)
		case d.Verdict == "suppressed" && len(suppressed) < max:
			suppressed = append(suppressed, d)
		}
		if len(issued) >= max && len(suppressed) >= max {
			break
		}
	}
	return issued, suppressed, ds.next
}

// matches reports whether a decision in memory is one that q searches for.
func (d *decision) matches(q *search.Query) bool {
	is := func(want, got string) bool { return want == "" || want == got }
	switch {
	case !is(q.Verdict, d.Verdict), !is(q.Outcome, cmp.Or(d.Status, search.None)), !is(q.Action, d.Action), !is(q.Kind, d.Kind),
		!is(q.Jurisdiction, d.Jurisdiction), !is(q.Brand, d.Brand), !is(q.Player, d.Player), !is(q.Decision, d.Decision),
		q.Review && !d.Review, !q.From.IsZero() && d.DecidedAt.Before(q.From), !q.To.IsZero() && !d.DecidedAt.Before(q.To):
		return false
	}
	if q.Rule == "" || slices.ContainsFunc(d.Blocked, func(b event.Blocked) bool { return b.Rule == q.Rule }) {
		return true
	}
	id, _ := d.blockedBy()
	return id == q.Rule
}

// decisionPage is a page of what a search found.
type decisionPage struct {
	Decisions []*decision `json:"decisions"`
	Matched   int64       `json:"matched"`
	Kept      int64       `json:"kept"` // how many were searched
	Next      string      `json:"next,omitzero"`
	Journal   bool        `json:"journal"` // the journal was searched; false: only what is in memory
	Whole     bool        `json:"whole"`   // false: some were written out to segments that this console does not have
	Behind    bool        `json:"behind"`  // the journal is still being indexed
	// Facets counts the searched decisions by each value that one can filter by.
	Facets map[string][]counted `json:"facets"`
}

// find answers q from memory, newest first, for a console without Redis. Max is 50
// unless it is from 1 to 500.
func (ds *decisions) find(q search.Query) decisionPage {
	if q.Max <= 0 || q.Max > 500 {
		q.Max = 50
	}
	before, _ := strconv.ParseInt(q.Before, 10, 64) // 0: from the newest
	all := ds.newest()
	if q.Allowed != nil {
		all = slices.DeleteFunc(all, func(d *decision) bool { return !q.Allowed(d.Jurisdiction, d.Brand) })
	}
	p := decisionPage{Decisions: []*decision{}, Kept: int64(len(all)), Whole: true, Facets: facets(all)}
	var last int64
	for _, d := range all {
		if before > 0 && d.Seq >= before || !d.matches(&q) {
			continue
		}
		p.Matched++
		if len(p.Decisions) < q.Max {
			p.Decisions = append(p.Decisions, d)
			last = d.Seq
		}
	}
	if p.Matched > int64(len(p.Decisions)) {
		p.Next = strconv.FormatInt(last, 10)
	}
	return p
}

func (ds *decisions) newest() []*decision {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	out := make([]*decision, 0, len(ds.byID))
	for _, d := range ds.ring {
		if d != nil {
			out = append(out, d)
		}
	}
	sort.Slice(out, func(a, b int) bool { return out[a].Seq > out[b].Seq })
	return out
}

func facets(all []*decision) map[string][]counted {
	by := map[string]map[string]int64{"verdict": {}, "action": {}, "kind": {}, "jurisdiction": {}, "rule": {}, "arm": {}}
	text := map[string]string{}
	for _, d := range all {
		for name, value := range map[string]string{"verdict": d.Verdict, "action": d.Action, "kind": d.Kind, "jurisdiction": d.Jurisdiction, "arm": d.Arm} {
			if value != "" {
				by[name][value]++
			}
		}
		if d.Verdict == "suppressed" {
			id, why := d.blockedBy()
			by["rule"][id]++
			text[id] = why
		}
	}
	out := map[string][]counted{}
	for name, counts := range by {
		out[name] = topOf(counts, 40)
	}
	for i := range out["rule"] {
		out["rule"][i].Text = text[out["rule"][i].Name]
	}
	return out
}
