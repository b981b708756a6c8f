package console

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"

	"pitboss/internal/access"
)

// casesMost is how many decisions one request may assign or review.
const casesMost = 200

// keyCases is the hash that maps a decision under review to the person who looks at it.
const keyCases = "{console}:cases"

// assigned says who looks at a case.
type assigned struct {
	Who string    `json:"who"`
	At  time.Time `json:"at"`
	By  string    `json:"by"`
}

// cases keeps who looks at which case. It helps those who share the queue and is
// not a lock: anybody may review any case.
type cases struct{ byDecision *hash }

func newCases(s *store) *cases { return &cases{s.hash(keyCases)} }

func (c *cases) all(ctx context.Context) (map[string]assigned, error) {
	raw, err := c.byDecision.all(ctx)
	out := map[string]assigned{}
	for id, text := range raw {
		var a assigned
		if json.Unmarshal([]byte(text), &a) == nil {
			out[id] = a
		}
	}
	return out, err
}

// give assigns a case to a.Who, or to nobody if that is empty.
func (c *cases) give(ctx context.Context, decision string, a assigned) error {
	if a.Who == "" {
		return c.drop(ctx, decision)
	}
	raw, err := json.Marshal(a)
	if err != nil {
		return err
	}
	return c.byDecision.set(ctx, decision, string(raw))
}

// drop forgets who looks at a case.
func (c *cases) drop(ctx context.Context, decision string) error {
	return c.byDecision.remove(ctx, decision)
}

// assignment is the body of POST /api/reviews/assign.
type assignment struct {
	Decisions []string `json:"decisions"`
	To        string   `json:"to"` // empty: nobody
}

// assign notes who looks at some cases.
func (f *Function) assign(_ http.ResponseWriter, r *http.Request, in assignment) (any, error) {
	if len(in.Decisions) == 0 || len(in.Decisions) > casesMost || len(in.To) > 128 {
		return nil, bad(fmt.Sprintf("decisions: 1 to %d; to: a name of at most 128 characters", casesMost))
	}
	who := personOf(r)
	for _, id := range in.Decisions {
		d, err := f.decisionOf(r.Context(), id)
		if err == nil && !who.MayAt(access.Compliance, d.Jurisdiction, d.Brand) {
			err = errNotAllowed
		}
		if err == nil {
			err = f.journal(r, "review.assign", d.Decision, in.To)
		}
		if err == nil {
			err = f.cases.give(r.Context(), d.Decision, assigned{in.To, f.now().UTC(), who.Name})
		}
		if err != nil {
			return nil, err
		}
	}
	return map[string]int{"assigned": len(in.Decisions)}, nil
}
