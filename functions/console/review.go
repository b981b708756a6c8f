package console

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"pitboss/internal/event"
	"pitboss/internal/journal"
	"pitboss/internal/policy"
)

// reviewCase is a decision that a rule sent to a person.
type reviewCase struct {
	*decision
	Said *verdict `json:"said,omitzero"`
}

// waiting is how many kept decisions still want a person's word.
func (f *Function) waiting() int {
	n := 0
	f.decisions.mu.Lock()
	defer f.decisions.mu.Unlock()
	for _, d := range f.decisions.ring {
		if d != nil && d.Review && d.Verdict != "revoked" && !d.reviewed {
			n++
		}
	}
	return n
}

// reviews is what was said, by decision, here or by any other hand:
// review.decided comes in like every event.
func (f *Function) reviews() map[string]verdict {
	out := map[string]verdict{}
	f.said.Range(func(_, v any) bool { s := v.(verdict); out[s.Decision] = s; return true })
	return out
}

// verdict is what a person said about a decision.
type verdict struct {
	Decision string    `json:"decision"`
	Verdict  string    `json:"verdict"` // approved | overturned
	Note     string    `json:"note"`
	Who      string    `json:"who"`
	At       time.Time `json:"at"`
}

// heard takes a review.decided or review.requested event.
func (f *Function) heard(s *seen) {
	if s.Type == event.TypeReviewRequested {
		var asked event.ReviewRequested
		if json.Unmarshal(s.Data, &asked) == nil {
			f.decisions.setDeadline(asked.Decision, asked.Deadline)
		}
		return
	}
	var said event.ReviewDecided
	if json.Unmarshal(s.Data, &said) == nil {
		f.said.Store(said.Decision, verdict{said.Decision, said.Verdict, said.Note, said.By, s.Time})
		f.decisions.markReviewed(said.Decision)
	}
}

func (ds *decisions) setDeadline(id string, at time.Time) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if d, ok := ds.byID[id]; ok {
		c := *d // a page may be reading d
		c.Deadline = at
		ds.replace(d, &c)
	}
}

func (ds *decisions) markReviewed(id string) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if d, ok := ds.byID[id]; ok {
		c := *d
		c.reviewed = true
		ds.replace(d, &c)
	}
}

// listReviews is the queue: what waits first, the most urgent on top, then
// what was said. The journal's queue outlives the console; what is known of a
// decision only from there is shown by its id.
func (f *Function) listReviews(w http.ResponseWriter, r *http.Request) {
	said := f.reviews()
	open, done := []reviewCase{}, []reviewCase{}
	listed := map[string]bool{}
	for _, d := range f.decisions.newest() {
		if !d.Review || d.Verdict == "revoked" || listed[d.Decision] {
			continue
		}
		listed[d.Decision] = true
		if v, ok := said[d.Decision]; ok {
			done = append(done, reviewCase{d, &v})
		} else {
			open = append(open, reviewCase{d, nil})
		}
	}
	if f.store.journal != nil {
		waiting, err := f.store.journal.Reviews(r.Context())
		if err != nil {
			failed(w, err)
			return
		}
		for _, c := range waiting {
			if _, ok := said[c.Decision]; !ok && !listed[c.Decision] {
				open = append(open, reviewCase{f.remembered(r.Context(), c), nil})
			}
		}
	}
	slices.SortStableFunc(open, func(a, b reviewCase) int { return a.Deadline.Compare(b.Deadline) })
	answer(w, map[string]any{"open": open[:min(200, len(open))], "done": done[:min(100, len(done))], "waiting": len(open)})
}

// remembered is a decision that waits for a person and that, it may be, only
// the journal knows; one that was written out or erased is shown by its id.
func (f *Function) remembered(ctx context.Context, c journal.Waiting) *decision {
	d, err := f.recalled(ctx, c.Decision)
	if err != nil {
		d = &decision{Words: "Made before the console started; its record is not in Redis any more."}
		d.Decision, d.Review = c.Decision, true
	}
	d.Deadline = c.Deadline
	return d
}

// decisionOf is the decision of that id: of the newest, or out of the journal.
func (f *Function) decisionOf(ctx context.Context, id string) (*decision, error) {
	if d, ok := f.decisions.get(id); ok {
		return d, nil
	}
	return f.recalled(ctx, id)
}

// recalled reads a decision out of the journal: the console's own memory
// begins when it starts, and is short.
func (f *Function) recalled(ctx context.Context, id string) (*decision, error) {
	if f.store.journal == nil {
		return nil, errNotFound
	}
	entry, _, err := f.store.find(ctx, id)
	if errors.Is(err, journal.ErrNotFound) {
		return nil, errNotFound
	}
	if err != nil {
		return nil, err
	}
	return decisionFrom(entry)
}

// decisionFrom reads a decision's entry; errNotFound: its player was erased.
func decisionFrom(entry *journal.Entry) (*decision, error) {
	if entry.Personal == nil {
		return nil, errNotFound
	}
	record, err := policy.Join(entry.Open, entry.Personal)
	if err != nil {
		return nil, err
	}
	d := &decision{Recommendation: *record.Recommendation(), Player: record.Input.Player,
		Jurisdiction: record.Input.Facts.Jurisdiction, Verdict: "suppressed", at: record.Input.Now}
	if record.Decision.Issued {
		d.Verdict = "issued"
	}
	d.ID = d.Decision
	d.Words = words(d)
	return d, nil
}

// review says what a person decided: review.decided goes to the Broker and is
// journaled by feedback. Overturning an issued recommendation also takes it
// back: recommendation.revoked goes to its consumers.
func (f *Function) review(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Verdict string `json:"verdict"`
		Note    string `json:"note"`
	}
	if !body(w, r, &in) {
		return
	}
	if in.Verdict != "approved" && in.Verdict != "overturned" || in.Note == "" || len(in.Note) > 256 {
		refuse(w, http.StatusBadRequest, "verdict is approved or overturned, and the note says why, in at most 256 characters")
		return
	}
	d, err := f.decisionOf(r.Context(), r.PathValue("id"))
	if err != nil {
		failed(w, err)
		return
	}
	if said, ok := f.reviews()[d.Decision]; ok {
		refuse(w, http.StatusConflict, "already "+said.Verdict+" by "+said.Who)
		return
	}
	if f.sink == nil {
		failed(w, errNoSink)
		return
	}
	if !f.journal(w, r, "review."+in.Verdict, d.Decision, in.Note) {
		return
	}
	v := verdict{Decision: d.Decision, Verdict: in.Verdict, Note: in.Note, Who: personOf(r).Name, At: f.now().UTC()}
	if err := f.say(r.Context(), d, v); err != nil {
		failed(w, err)
		return
	}
	answer(w, v)
}

// say sends the word, after what follows from it: where only the first arrives,
// the decision still waits in the queue, and said again both are the same events.
func (f *Function) say(ctx context.Context, d *decision, v verdict) error {
	if v.Verdict == "overturned" && d.Verdict == "issued" {
		back, err := policy.Overturned(name, d.Player, d.Recommendation, v.Note, v.At)
		if err == nil {
			err = f.post(ctx, back)
		}
		if err != nil {
			return err
		}
	}
	id := event.ReplyID(event.SourceOf(name), d.Decision, event.TypeReviewDecided)
	said := event.ReviewDecided{Decision: d.Decision, Verdict: v.Verdict, By: v.Who, Note: v.Note}
	if err := f.send(ctx, event.TypeReviewDecided, d.Player, id, said); err != nil {
		return err
	}
	f.said.Store(d.Decision, v)
	f.decisions.markReviewed(d.Decision)
	return nil
}
