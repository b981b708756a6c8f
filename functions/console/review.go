package console

import (
	"context"
	"net/http"

	"github.com/go-json-experiment/json"

	"pitboss/internal/event"
)

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

// reviews is what was said, by decision.
func (f *Function) reviews(ctx context.Context) (map[string]verdict, error) {
	out := map[string]verdict{}
	f.said.Range(func(_, v any) bool { s := v.(verdict); out[s.Decision] = s; return true })
	if f.store.rdb == nil {
		return out, nil
	}
	all, err := f.store.all(ctx, keyReviews)
	if err != nil {
		return out, err
	}
	for id, raw := range all {
		var v verdict
		if json.Unmarshal(raw, &v) == nil {
			out[id] = v
			f.decisions.markReviewed(id)
		}
	}
	return out, nil
}

func (ds *decisions) markReviewed(id string) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if d, ok := ds.byID[id]; ok {
		d.reviewed = true
	}
}

// reviewCase is a decision that a rule sent to a person.
type reviewCase struct {
	*decision
	Said *verdict `json:"said,omitzero"`
}

// listReviews is the queue: what waits first, then what was said.
func (f *Function) listReviews(w http.ResponseWriter, r *http.Request) {
	said, err := f.reviews(r.Context())
	if err != nil {
		failed(w, err)
		return
	}
	open, done := []reviewCase{}, []reviewCase{}
	for _, d := range f.decisions.newest() {
		if !d.Review || d.Verdict == "revoked" {
			continue
		}
		if v, ok := said[d.Decision]; ok {
			if len(done) < 100 {
				done = append(done, reviewCase{d, &v})
			}
		} else if len(open) < 200 {
			open = append(open, reviewCase{d, nil})
		}
	}
	answer(w, map[string]any{"open": open, "done": done})
}

// review keeps what a person says about a decision. Overturning an issued
// recommendation takes it back: recommendation.revoked goes to its consumers.
func (f *Function) review(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Verdict string `json:"verdict"`
		Note    string `json:"note"`
	}
	if !body(w, r, &in) {
		return
	}
	d, ok := f.decisions.get(r.PathValue("id"))
	switch {
	case !ok:
		failed(w, errNotFound)
		return
	case in.Verdict != "approve" && in.Verdict != "overturn", in.Note == "":
		refuse(w, http.StatusBadRequest, "verdict is approve or overturn, and the note says why")
		return
	}
	if said, _ := f.reviews(r.Context()); said[d.Decision].Verdict != "" {
		refuse(w, http.StatusConflict, "already decided by "+said[d.Decision].Who)
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

func (f *Function) say(ctx context.Context, d *decision, v verdict) error {
	if v.Verdict == "overturn" && d.Verdict == "issued" {
		data := d.Recommendation
		data.Reasons = append([]event.Reason{{Code: "overturned", Text: v.Note}}, data.Reasons...)
		if err := f.send(ctx, event.TypeRevoked, d.Player, event.ReplyID(event.SourceOf(name), d.Decision, event.TypeRevoked), data); err != nil {
			return err
		}
	}
	f.said.Store(d.Decision, v)
	f.decisions.markReviewed(d.Decision)
	if f.store.rdb == nil {
		return nil
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = f.store.command(ctx, "HSET", keyReviews, v.Decision, raw)
	return err
}
