package policy

import (
	"cmp"
	"slices"
)

// Backtest counts how another policy would have decided where decisions are
// stored. Each decision is made again on its stored input, which includes the
// contact history of the time. The later consequences of a changed decision are
// not simulated.
type Backtest struct {
	Decisions int // decided again
	Changed   int
	Erased    int // not decided again: the player was erased, and the input with them
	changes   map[changeKey]*Changed
}

// changeKey is what changed decisions are counted by.
type changeKey struct{ what, rule, action, jurisdiction, brand string }

// Changed counts decisions that would differ in the same way.
type Changed struct {
	What         string   `json:"what"` // WouldSend, WouldStop or WouldReplace
	Rule         string   `json:"rule"` // that stops the action, or stopped it; empty: it is not eligible, or another is better
	Action       string   `json:"action"`
	Jurisdiction string   `json:"jurisdiction"`
	Brand        string   `json:"brand"`
	Count        int      `json:"count"`
	Examples     []string `json:"examples"` // ids of decisions, at most three
}

// What another policy would do.
const (
	WouldSend    = "would be sent"
	WouldStop    = "would be stopped"
	WouldReplace = "another would be sent"
)

const examplesKept = 3

// NewBacktest returns an empty Backtest.
func NewBacktest() *Backtest { return &Backtest{changes: map[changeKey]*Changed{}} }

// Try decides a record again under p. features lists the feature names of the
// record's policy, in its order.
func (b *Backtest) Try(p *Policy, r *Record, features []string) {
	if r.Input.Player == "" {
		b.Erased++
		return
	}
	in := r.Input
	in.Features, in.Missing = arranged(in.Features, in.Missing, features, p.FeatureNames())
	was, now := &r.Decision, p.Decide(&in)
	b.Decisions++
	before, after := sentBy(was), sentBy(now)
	if before == after {
		return
	}
	b.Changed++
	switch {
	case before == "":
		b.count(WouldSend, was.blockOf(after), after, r)
	case after == "":
		b.count(WouldStop, now.blockOf(before), before, r)
	default:
		b.count(WouldReplace, now.blockOf(before), before, r)
	}
}

// Entry tries a decision given by the two parts of its journal entry. names
// returns the features, in order, of the policy with a hash.
func (b *Backtest) Entry(p *Policy, open, personal []byte, names func(hash string) ([]string, error)) error {
	r, err := Join(open, personal)
	if err != nil {
		return err
	}
	features, err := names(r.Decision.Policy)
	if err != nil {
		return err
	}
	b.Try(p, r, features)
	return nil
}

// sentBy returns the action that a decision sends, or "" if it sends nothing.
func sentBy(d *Decision) string {
	if !d.Issued {
		return ""
	}
	return d.Action
}

// blockOf returns the first rule that stops an action in the decision, or "".
func (d *Decision) blockOf(action string) string {
	if blocked := d.Blocks(action); len(blocked) > 0 {
		return blocked[0].Rule
	}
	return ""
}

func (b *Backtest) count(what, rule, action string, r *Record) {
	key := changeKey{what, rule, action, r.Input.Facts.Jurisdiction, r.Input.Facts.Brand}
	c := b.changes[key]
	if c == nil {
		c = &Changed{What: what, Rule: rule, Action: action, Jurisdiction: key.jurisdiction, Brand: key.brand}
		b.changes[key] = c
	}
	c.Count++
	if len(c.Examples) < examplesKept {
		c.Examples = append(c.Examples, r.Input.Decision)
	}
}

// Changes lists the differences, the most frequent first.
func (b *Backtest) Changes() []Changed {
	out := make([]Changed, 0, len(b.changes))
	for _, c := range b.changes {
		out = append(out, *c)
	}
	slices.SortFunc(out, func(x, y Changed) int {
		return cmp.Or(cmp.Compare(y.Count, x.Count), cmp.Compare(x.What, y.What), cmp.Compare(x.Action, y.Action),
			cmp.Compare(x.Rule, y.Rule), cmp.Compare(x.Jurisdiction, y.Jurisdiction), cmp.Compare(x.Brand, y.Brand))
	})
	return out
}

// arranged puts values that are in the order of the names from into the order of
// the names to. It also returns the names that have no value.
func arranged(values []float64, missing, from, to []string) ([]float64, []string) {
	if slices.Equal(from, to) {
		return values, missing
	}
	at := make(map[string]int, len(from))
	for i, name := range from {
		at[name] = i
	}
	out := make([]float64, len(to))
	var lacking []string
	for i, name := range to {
		if n, ok := at[name]; ok && n < len(values) && !slices.Contains(missing, name) {
			out[i] = values[n]
		} else {
			lacking = append(lacking, name)
		}
	}
	return out, lacking
}
