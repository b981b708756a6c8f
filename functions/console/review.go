package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"pitboss/internal/access"
	"pitboss/internal/event"
	"pitboss/internal/journal"
	"pitboss/internal/policy"
)

// reviewCase is a decision that a rule sent to review.
type reviewCase struct {
	*decision
	Said     *verdict  `json:"said,omitzero"`
	Assigned *assigned `json:"assigned,omitzero"`
}

// reviews returns the verdicts by decision. They may come from this console or from
// elsewhere, since review.decided comes in like every event.
func (f *Function) reviews() map[string]verdict {
	out := map[string]verdict{}
	f.said.Range(func(_, v any) bool { s := v.(verdict); out[s.Decision] = s; return true })
	return out
}

// verdict is the result of a decision's review.
type verdict struct {
	Decision string    `json:"decision"`
	Verdict  string    `json:"verdict"` // approved | overturned
	Note     string    `json:"note"`
	Who      string    `json:"who"`
	At       time.Time `json:"at"`
}

// heard reads a review.decided or a review.requested event.
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

// listReviews answers with the decisions that wait, the most urgent first, and those
// that were reviewed. It adds the journal's queue, which has decisions from before the
// console started. A decision that was written out of Redis is shown by its id.
func (f *Function) listReviews(w http.ResponseWriter, r *http.Request) (any, error) {
	said := f.reviews()
	open, done := []reviewCase{}, []reviewCase{}
	listed := map[string]bool{}
	for _, d := range f.decisions.newest() {
		if !d.Review || d.Verdict == "revoked" || listed[d.Decision] {
			continue
		}
		listed[d.Decision] = true
		if v, ok := said[d.Decision]; ok {
			done = append(done, reviewCase{decision: d, Said: &v})
		} else {
			open = append(open, reviewCase{decision: d})
		}
	}
	if f.store.journal != nil {
		waiting, err := f.store.journal.Reviews(r.Context())
		if err != nil {
			return nil, err
		}
		for _, c := range waiting {
			if _, ok := said[c.Decision]; ok || listed[c.Decision] {
				continue
			}
			if d := f.remembered(r.Context(), c); d != nil {
				open = append(open, reviewCase{decision: d})
			}
		}
	}
	who, err := f.cases.all(r.Context())
	if err != nil {
		return nil, err
	}
	p := personOf(r)
	hidden := func(c reviewCase) bool { return !p.Sees(c.Jurisdiction, c.Brand) }
	open, done = slices.DeleteFunc(open, hidden), slices.DeleteFunc(done, hidden)
	for i := range open {
		if a, ok := who[open[i].Decision]; ok {
			open[i].Assigned = &a
		}
	}
	slices.SortStableFunc(open, func(a, b reviewCase) int { return a.Deadline.Compare(b.Deadline) })
	return map[string]any{"open": open[:min(200, len(open))], "done": done[:min(100, len(done))], "waiting": len(open)}, nil
}

// remembered looks up a decision of the journal's queue. It returns nil if its player
// was erased, since there is nothing to review then, and only the id if the decision
// was written out of Redis.
func (f *Function) remembered(ctx context.Context, c journal.Waiting) *decision {
	d, err := f.recalled(ctx, c.Decision)
	if errors.Is(err, errErased) {
		return nil
	}
	if err != nil {
		d = &decision{Words: "Made before the console started; its record is no longer in Redis."}
		d.Decision, d.Review = c.Decision, true
	}
	d.Deadline = c.Deadline
	return d
}

// decisionOf finds a decision in memory or in the journal.
func (f *Function) decisionOf(ctx context.Context, id string) (*decision, error) {
	if d, ok := f.decisions.get(id); ok {
		return d, nil
	}
	return f.recalled(ctx, id)
}

// recalled reads a decision from the journal. It fails with errNotFound, or with
// errErased.
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

// errErased says that the player was erased. The decision's open part is left.
var errErased = fmt.Errorf("%w: the player was erased", errNotFound)

// decisionFrom reads a decision from its journal entry, or fails with errErased.
func decisionFrom(entry *journal.Entry) (*decision, error) {
	if entry.Personal == nil {
		return nil, errErased
	}
	record, err := policy.Join(entry.Open, entry.Personal)
	if err != nil {
		return nil, err
	}
	d := decisionIn(record)
	d.Words = words(d)
	return d, nil
}

func decisionIn(r *policy.Record) *decision {
	facts := &r.Input.Facts
	d := &decision{Recommendation: *r.Recommendation(), Player: r.Input.Player, Jurisdiction: facts.Jurisdiction, Brand: facts.Brand,
		Verdict: "suppressed", at: r.Input.Now}
	if r.Decision.Issued {
		d.Verdict = "issued"
	}
	d.ID = d.Decision
	return d
}

// said is the body of a review of one decision or of several.
type said struct {
	Decisions []string `json:"decisions,omitempty"`
	Verdict   string   `json:"verdict"`
	Note      string   `json:"note"`
}

func (s *said) check() error {
	if s.Verdict != "approved" && s.Verdict != "overturned" || s.Note == "" || len(s.Note) > 256 {
		return bad("verdict is approved or overturned, and the note says why, in at most 256 characters")
	}
	if len(s.Decisions) > casesMost {
		return bad(fmt.Sprintf("decisions: at most %d at once", casesMost))
	}
	return nil
}

// review sends review.decided to the Broker; feedback journals it. Overturning an
// issued recommendation also sends recommendation.revoked to its consumers.
func (f *Function) review(_ http.ResponseWriter, r *http.Request, in said) (any, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	return f.reviewOne(r.Context(), personOf(r), r.PathValue("id"), in.Verdict, in.Note)
}

// notReviewed is one of several decisions whose review failed.
type notReviewed struct {
	Decision string `json:"decision"`
	Why      string `json:"why"`
}

// reviewMany reviews several decisions with one verdict. It answers with those that
// failed, which can be reviewed again.
func (f *Function) reviewMany(_ http.ResponseWriter, r *http.Request, in said) (any, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	done, not := 0, []notReviewed{}
	for _, id := range in.Decisions {
		if _, err := f.reviewOne(r.Context(), personOf(r), id, in.Verdict, in.Note); err != nil {
			not = append(not, notReviewed{id, err.Error()})
			continue
		}
		done++
	}
	return map[string]any{"done": done, "failed": not}, nil
}

func (f *Function) reviewOne(ctx context.Context, who *access.Person, id, what, note string) (v verdict, err error) {
	d, err := f.decisionOf(ctx, id)
	if err != nil {
		return v, err
	}
	if !who.MayAt(access.Compliance, d.Jurisdiction, d.Brand) {
		return v, fmt.Errorf("%w: the player is of a place where %s is not compliance", errNotAllowed, who.Name)
	}
	if said, ok := f.reviews()[d.Decision]; ok {
		return v, fmt.Errorf("%w: already %s by %s", errConflict, said.Verdict, said.Who)
	}
	if f.sink == nil {
		return v, errNoSink
	}
	if err := f.journalFor(ctx, who, "review."+what, d.Decision, note); err != nil {
		return v, err
	}
	v = verdict{Decision: d.Decision, Verdict: what, Note: note, Who: who.Name, At: f.now().UTC()}
	return v, f.say(ctx, d, v)
}

// say sends the revocation first and review.decided last. If only the first arrives,
// the decision still waits in the queue. Reviewing it again sends the same two events.
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
	return f.cases.drop(ctx, d.Decision)
}
