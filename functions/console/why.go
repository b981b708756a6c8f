package console

import (
	"context"
	"encoding/hex"
	"errors"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"pitboss/internal/journal"
	"pitboss/internal/policy"
)

// journaled is what the journal has of a decision, with the text of each rule.
type journaled struct {
	Rules      []ruleVerdict   `json:"rules"`
	Candidates jsontext.Value  `json:"candidates,omitzero"`
	Entry      *chained        `json:"entry,omitzero"`
	Record     jsontext.Value  `json:"record,omitzero"`
	Personal   jsontext.Value  `json:"personal,omitzero"`
	About      []journaledNote `json:"about"`
	Note       string          `json:"note,omitzero"`

	about []*journal.Entry
}

// chained is the entry's position in the journal and the beginning of its hash.
type chained struct {
	Seq   uint64 `json:"seq"`
	Shard int    `json:"shard"`
	Hash  string `json:"hash"`
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

// journaled looks the decision up in the journal. It returns nil without Redis.
func (f *Function) journaled(ctx context.Context, id string) *journaled {
	if f.store.journal == nil {
		return nil
	}
	entry, about, err := f.store.find(ctx, id)
	out := &journaled{Rules: []ruleVerdict{}, About: []journaledNote{}}
	if err != nil {
		out.Note = err.Error()
		if errors.Is(err, journal.ErrNotFound) {
			out.Note = "It was written out of Redis to a segment. PITBOSS_SEGMENTS tells the console where segments are."
		}
		return out
	}
	out.about = about
	for _, e := range about {
		out.About = append(out.About, journaledNote{e.Kind, jsontext.Value(e.Open)})
	}
	out.Record, out.Personal = jsontext.Value(entry.Open), jsontext.Value(entry.Personal)
	out.Entry = &chained{entry.Seq, entry.Shard, hex.EncodeToString(entry.Hash[:6])}
	var open struct {
		Result struct {
			Rules      []ruleVerdict  `json:"rules"`
			Candidates jsontext.Value `json:"candidates"`
			Policy     string         `json:"policy"`
		} `json:"result"`
	}
	if err := json.Unmarshal(entry.Open, &open); err != nil {
		out.Note = err.Error()
		return out
	}
	out.Candidates = open.Result.Candidates
	out.Rules = open.Result.Rules
	then, err := f.rulesThen(ctx, open.Result.Policy)
	if err != nil {
		out.Note = "The journal does not have the rules of that time: " + err.Error()
	}
	for i := range out.Rules {
		r := then[out.Rules[i].Rule]
		out.Rules[i].Text, out.Rules[i].Source = r.Text, r.source()
	}
	return out
}

// rulesThen returns the rules by id as they were in the policy of that hash, whose
// document the journal keeps. Today's texts may differ from those that an old decision
// was made by.
func (f *Function) rulesThen(ctx context.Context, hash string) (map[string]rule, error) {
	if byID, ok := f.policies.Get(hash); ok {
		return byID, nil
	}
	doc, err := f.store.journal.Document(ctx, hash)
	if err != nil {
		return nil, err
	}
	files, err := policy.DocumentFiles(doc)
	if err != nil {
		return nil, err
	}
	packs, problems := readPacks(files)
	if len(problems) > 0 {
		return nil, errors.New(strings.Join(problems, "; "))
	}
	byID := map[string]rule{}
	for _, p := range packs {
		for _, r := range p.Rules {
			byID[r.ID] = r
		}
	}
	f.policies.Add(hash, byID)
	return byID, nil
}

// inputsFrom reads a decision's inputs from the journal's record, for a decision whose
// player.scored is no longer in memory.
func (f *Function) inputsFrom(j *journaled) *scoring {
	if j == nil || j.Personal == nil || f.store.set == nil {
		return nil
	}
	record, err := policy.Join(j.Record, j.Personal)
	if err != nil || len(record.Input.Features) == 0 {
		return nil
	}
	in := &record.Input
	out := &scoring{AsOf: in.AsOf, Version: in.StateVersion, Trigger: in.Trigger, Facts: in.Facts, Scores: in.Scores, Models: in.Models,
		Due: []string{}, Features: map[string]float64{}}
	// Names are in the order of their declaration, so they fit only the same feature set.
	if names := f.store.set.Names(); in.FeatureSet == f.store.set.Hash() && len(names) == len(in.Features) {
		for i, n := range names {
			out.Features[n] = in.Features[i]
		}
	}
	return out
}
