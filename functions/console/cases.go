package console

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"pitboss/internal/access"
)

// casesMost is how many decisions one request may assign or review.
const casesMost = 200

// keyCases is the hash of who looks at which decision that waits for a person.
const keyCases = "{console}:cases"

// assigned is who looks at a case.
type assigned struct {
	Who string    `json:"who"`
	At  time.Time `json:"at"`
	By  string    `json:"by"`
}

// cases keeps who looks at what: in Redis, or in memory without it. It is a
// help to those who share the queue, not a lock: anybody may review any case.
type cases struct {
	store *store

	mu     sync.Mutex
	memory map[string]assigned
}

func newCases(s *store) *cases { return &cases{store: s, memory: map[string]assigned{}} }

func (c *cases) all(ctx context.Context) (map[string]assigned, error) {
	out := map[string]assigned{}
	if c.store.rdb == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		maps.Copy(out, c.memory)
		return out, nil
	}
	raw, err := c.store.all(ctx, keyCases)
	for id, text := range raw {
		var a assigned
		if json.Unmarshal(text, &a) == nil {
			out[id] = a
		}
	}
	return out, err
}

// give assigns a case; to nobody where a.Who is empty.
func (c *cases) give(ctx context.Context, decision string, a assigned) error {
	if a.Who == "" {
		return c.drop(ctx, decision)
	}
	if c.store.rdb == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.memory[decision] = a
		return nil
	}
	raw, err := json.Marshal(a)
	if err == nil {
		_, err = c.store.command(ctx, "HSET", keyCases, decision, raw)
	}
	return err
}

// drop forgets who looks at a case.
func (c *cases) drop(ctx context.Context, decision string) error {
	if c.store.rdb == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.memory, decision)
		return nil
	}
	_, err := c.store.command(ctx, "HDEL", keyCases, decision)
	return err
}

// assign says who looks at cases: {"decisions": […], "to": "cora"}; to nobody: "".
func (f *Function) assign(w http.ResponseWriter, r *http.Request) (any, error) {
	var in struct {
		Decisions []string `json:"decisions"`
		To        string   `json:"to"`
	}
	if err := body(w, r, &in); err != nil {
		return nil, err
	}
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
