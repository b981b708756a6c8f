package console

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"pitboss/internal/event"
	"pitboss/internal/journal"
)

// journaled is what the journal has of a decision, with each rule's words.
type journaled struct {
	Rules      []ruleVerdict   `json:"rules"`
	Candidates jsontext.Value  `json:"candidates,omitzero"`
	Verified   string          `json:"verified"`
	Record     jsontext.Value  `json:"record,omitzero"`
	Personal   jsontext.Value  `json:"personal,omitzero"`
	About      []journaledNote `json:"about"`
	Note       string          `json:"note,omitzero"`
}

type ruleVerdict struct {
	Rule    string   `json:"rule"`
	Version int      `json:"version"`
	Result  string   `json:"result"`
	Actions []string `json:"actions,omitempty"`
	Text    string   `json:"text,omitzero"`
	Source  string   `json:"source,omitzero"`
}

// journaledNote is an entry about the decision: an outcome, a review.
type journaledNote struct {
	Kind string         `json:"kind"`
	Open jsontext.Value `json:"open"`
}

// journaled looks the decision up in the journal. Nil: there is no journal.
func (f *Function) journaled(ctx context.Context, id string) *journaled {
	if f.store.journal == nil {
		return nil
	}
	entry, about, err := f.store.journal.Find(ctx, id)
	out := &journaled{Rules: []ruleVerdict{}, About: []journaledNote{}}
	if err != nil {
		out.Note = err.Error()
		if errors.Is(err, journal.ErrNotFound) {
			out.Note = "Not in Redis any more: it was written out to a segment. `pitboss explain` reads those."
		}
		return out
	}
	for _, e := range about {
		out.About = append(out.About, journaledNote{e.Kind, jsontext.Value(e.Open)})
	}
	out.Record, out.Personal = jsontext.Value(entry.Open), jsontext.Value(entry.Personal)
	out.Verified = fmt.Sprintf("entry %d of shard %d, chained as %x…", entry.Seq, entry.Shard, entry.Hash[:6])
	var open struct {
		Rules      []ruleVerdict  `json:"rules"`
		Candidates jsontext.Value `json:"candidates"`
	}
	if err := json.Unmarshal(entry.Open, &open); err != nil {
		out.Note = err.Error()
		return out
	}
	out.Candidates = open.Candidates
	out.Rules = f.inWords(open.Rules)
	return out
}

// inWords adds each rule's text and source.
func (f *Function) inWords(list []ruleVerdict) []ruleVerdict {
	packs, _ := readPacks(f.cfg.ModelsDir)
	byID := map[string]rule{}
	for _, p := range packs {
		for _, r := range p.Rules {
			byID[r.ID] = r
		}
	}
	for i := range list {
		r := byID[list[i].Rule]
		list[i].Text, list[i].Source = r.Text, r.source()
	}
	return list
}

// inputsFrom reads what was decided on out of the journal's record: the
// console's memory of a player is short, the journal's is not.
func inputsFrom(j *journaled) *scoring {
	if j == nil || j.Personal == nil {
		return nil
	}
	var in struct {
		Trigger  event.Trigger      `json:"trigger"`
		Facts    event.Facts        `json:"facts"`
		Features map[string]float64 `json:"features"`
		Scores   map[string]float64 `json:"scores"`
		Models   []event.ModelRun   `json:"models"`
		Version  string             `json:"state_version"`
	}
	if json.Unmarshal(j.Personal, &in) != nil || in.Features == nil {
		return nil
	}
	return &scoring{Version: in.Version, Trigger: in.Trigger, Facts: in.Facts, Features: in.Features, Scores: in.Scores, Models: in.Models, Due: []string{}}
}
