package decide

import (
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"pitboss/internal/event"
)

// Record is a decision with everything it rests on. In the journal it has two
// parts: what says nothing about a person, and what does.
type Record struct {
	Input    Input
	Decision Decision
}

// open is the part of a record that outlives an erasure.
type open struct {
	Decision     string    `json:"decision"`
	At           time.Time `json:"at"`
	Jurisdiction string    `json:"jurisdiction"`
	StateVersion string    `json:"state_version"`
	FeatureSet   string    `json:"feature_set"`
	Models       []model   `json:"models,omitempty"`
	Killed       []string  `json:"killed,omitempty"`
	Result       *Decision `json:"result"`
}

// model is a model run without its score.
type model struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	SHA256  string `json:"sha256"`
	Output  string `json:"output"`
}

// personal is the part that is sealed with the player's key.
type personal struct {
	Input  *Input         `json:"input"`
	Params map[string]any `json:"params,omitempty"` // of the message
}

// written: the same bytes for the same record, without looking for duplicate
// names that Go's own types can't have.
var written = json.JoinOptions(json.Deterministic(true), jsontext.AllowDuplicateNames(true))

// Split writes the record's two parts as JSON.
func (r *Record) Split() (openPart, personalPart []byte, err error) {
	d := r.Decision
	d.Params = nil
	o := open{Decision: r.Input.Decision, At: r.Input.Now, Jurisdiction: r.Input.Facts.Jurisdiction, StateVersion: r.Input.StateVersion,
		FeatureSet: r.Input.FeatureSet, Killed: r.Input.Killed, Result: &d}
	for _, m := range r.Input.Models {
		o.Models = append(o.Models, model{m.Name, m.Version, m.SHA256, m.Output})
	}
	if openPart, err = json.Marshal(&o, written); err == nil {
		personalPart, err = json.Marshal(&personal{&r.Input, r.Decision.Params}, written)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("decide: record: %w", err)
	}
	return openPart, personalPart, nil
}

// Join reads a record from its parts. personalPart is nil where the player was
// erased: then Input holds only what is open.
func Join(openPart, personalPart []byte) (*Record, error) {
	var o open
	if err := json.Unmarshal(openPart, &o); err != nil {
		return nil, fmt.Errorf("decide: record: %w", err)
	}
	if o.Result == nil {
		return nil, fmt.Errorf("decide: record: not a decision")
	}
	r := &Record{Decision: *o.Result}
	if personalPart != nil {
		p := personal{Input: &r.Input}
		if err := json.Unmarshal(personalPart, &p); err != nil {
			return nil, fmt.Errorf("decide: record: %w", err)
		}
		r.Decision.Params = p.Params
		return r, nil
	}
	r.Input = Input{Decision: o.Decision, Now: o.At, StateVersion: o.StateVersion, FeatureSet: o.FeatureSet, Killed: o.Killed,
		Facts: event.Facts{Jurisdiction: o.Jurisdiction}}
	for _, m := range o.Models {
		r.Input.Models = append(r.Input.Models, event.ModelRun{Name: m.Name, Version: m.Version, SHA256: m.SHA256, Output: m.Output})
	}
	return r, nil
}

// Recommendation is what consuming teams receive of the record.
func (r *Record) Recommendation() *event.Recommendation {
	d := &r.Decision
	out := &event.Recommendation{Decision: r.Input.Decision, Action: d.Action, Kind: d.Kind, Channel: d.Channel, Severity: d.Severity,
		Message: d.Message, Params: d.Params, Reasons: d.Reasons, Scores: r.Input.Scores, Arm: d.Arm, Propensity: d.Propensity,
		DedupKey: r.Input.Decision, DecidedAt: r.Input.Now, Expires: d.Expires, Trigger: r.Input.Trigger, Review: len(d.Review) > 0}
	for _, c := range d.Candidates {
		out.Blocked = append(out.Blocked, c.Blocked...)
	}
	return out
}
