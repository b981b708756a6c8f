package console

import (
	"context"
	"encoding/hex"
	"errors"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"go.uber.org/zap"

	"pitboss/internal/access"
	"pitboss/internal/journal"
)

// kindChange is the kind of the journal's entries about changes made in the console.
const kindChange = "change"

// change is one thing that a person did in the console.
type change struct {
	At      time.Time     `json:"at"`
	Who     string        `json:"who"`
	ID      string        `json:"who_id,omitzero"` // the OIDC subject
	Roles   []access.Role `json:"roles,omitempty"`
	What    string        `json:"what"` // review.approve, kill-switch.on, player.erase, …
	Subject string        `json:"subject"`
	Note    string        `json:"note,omitzero"`
	Hash    string        `json:"hash,omitzero"` // the hash of the journal's entry
	Href    string        `json:"href,omitzero"` // the page that shows what was changed
}

// audit records changes in the journal's hash chain of operations, beside the kill
// switches. Without Redis it keeps the newest 1,000 in memory.
type audit struct {
	journal *journal.Journal // nil without Redis
	log     *zap.Logger
	now     func() time.Time

	mu     sync.Mutex
	memory []change // newest last
}

func newAudit(j *journal.Journal, log *zap.Logger, now func() time.Time) *audit {
	return &audit{journal: j, log: log.Named("audit"), now: now}
}

// record journals a change. It is called before the change is made: a change that
// cannot be journaled is not made.
func (a *audit) record(ctx context.Context, p *access.Person, what, subject, note string) error {
	c := change{At: a.now().UTC(), Who: p.Name, ID: p.ID, Roles: p.Roles, What: what, Subject: subject, Note: note}
	a.log.Info("change", zap.String("who", c.Who), zap.String("what", what), zap.String("subject", subject))
	if a.journal == nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.memory = append(a.memory, c); len(a.memory) > 1000 {
			a.memory = a.memory[1:]
		}
		return nil
	}
	raw, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return a.journal.RecordOps(ctx, &journal.Draft{Kind: kindChange, Time: c.At, Open: raw})
}

// whatRead is what a change says that records a person reading a player's data.
const whatRead = "player.read"

// changesBack bounds how many journal entries are searched for changes.
const changesBack = 5000

// changes returns up to max changes, newest first. With reads it includes who read
// players' data.
func (a *audit) changes(ctx context.Context, max int, reads bool) ([]change, error) {
	list := []change{}
	add := func(c change) {
		if reads || c.What != whatRead {
			c.Href = hrefOf(c.What, c.Subject)
			list = append(list, c)
		}
	}
	if a.journal == nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		for _, c := range slices.Backward(a.memory) {
			add(c)
		}
		return list[:min(max, len(list))], nil
	}
	head, _, err := a.journal.Head(ctx, journal.Ops)
	if err != nil {
		return nil, err
	}
	from := uint64(1)
	if head > changesBack {
		from = head - changesBack + 1
	}
	err = a.journal.Each(ctx, journal.Ops, from, true, func(e *journal.Entry) error {
		if c, ok := changeOf(e); ok {
			add(c)
		}
		return nil
	})
	if errors.Is(err, journal.ErrNotFound) {
		err = nil
	}
	slices.Reverse(list)
	return list[:min(max, len(list))], err
}

// hrefOf is the page that shows what was changed. There is none for players: the
// journal has only their hashes.
func hrefOf(what, subject string) string {
	kind, name, _ := strings.Cut(subject, "/")
	switch {
	case strings.HasPrefix(what, "review."):
		return "/decisions/" + url.PathEscape(subject)
	case strings.HasPrefix(what, "model."), strings.HasPrefix(what, "kill-switch.") && kind == "model":
		return "/models"
	case strings.HasPrefix(what, "dead-letter."):
		return "/deadletters"
	case what == "decisions.csv":
		return "/decisions?" + subject
	case strings.HasPrefix(what, "kill-switch.") && kind == "jurisdiction":
		return "/rules?pack=" + url.QueryEscape(name)
	case strings.HasPrefix(what, "kill-switch.") && kind == "rule":
		return "/rules#" + name
	case strings.HasPrefix(what, "kill-switch."):
		return "/rules"
	}
	return ""
}

// changeOf reads a change out of an entry about operations: one made here, or one made
// by a command or the guard rail.
func changeOf(e *journal.Entry) (c change, ok bool) {
	read := func(v any) bool { return json.Unmarshal(e.Open, v) == nil }
	switch e.Kind {
	case kindChange:
		ok = read(&c)
	case journal.KindSwitch:
		var s journal.SwitchChange
		ok = read(&s)
		c = change{At: s.At, Who: s.By, What: "kill-switch.off", Subject: s.Switch, Note: s.Reason}
		if s.On {
			c.What = "kill-switch.on"
		}
		if s.Approved != "" {
			c.Who += ", approved by " + s.Approved
		}
	case journal.KindOpen:
		var o journal.Opening
		ok = read(&o)
		c = change{At: o.At, Who: o.By, ID: o.ByID, What: "kept.open", Subject: o.Player, Note: o.Reason}
	case journal.KindPropose:
		var p journal.Proposal
		ok = read(&p)
		c = change{At: p.At, Who: p.By, ID: p.ByID, What: "propose " + p.What, Subject: p.Subject, Note: p.Note}
	case journal.KindSettle:
		var s journal.Settlement
		ok = read(&s)
		c = change{At: s.Settled, Who: s.SettledBy, ID: s.SettledID, What: s.Verdict + " " + s.What, Subject: s.Subject, Note: "proposed by " + s.By + ": " + s.Note}
	}
	c.Hash = hex.EncodeToString(e.Hash[:])
	return c, ok
}
