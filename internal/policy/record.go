package policy

import (
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"pitboss/internal/event"
)

// Record is a decision with its input. In the journal it has two parts: one without
// and one with personal data.
type Record struct {
	Input    Input
	Decision Decision
}

// open is the part of a record that outlives an erasure.
type open struct {
	Decision     string    `json:"decision"`
	At           time.Time `json:"at"`
	Jurisdiction string    `json:"jurisdiction"`
	Brand        string    `json:"brand,omitzero"`
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

// personal is the part that is encrypted with the player's key.
type personal struct {
	Input  *Input         `json:"input"`
	Params map[string]any `json:"params,omitempty"` // of the message
	// Markers are the texts of the decision's markers, with their numbers.
	Markers []string `json:"markers,omitempty"`
}

// Split writes the record's two parts as JSON. The output equals json.Marshal of open
// and personal; it is written by hand because every decision does it.
func (r *Record) Split() (openPart, personalPart []byte) {
	w := make(event.Writer, 0, 2048)
	r.writeOpen(&w)
	openPart = w
	w = make(event.Writer, 0, 3072)
	w.Begin('{')
	r.Input.write(&w, "input")
	event.WriteParams(&w, "params", r.Decision.Params)
	event.OptList(&w, "markers", r.Decision.Markers, func(w *event.Writer, m *Marker) { w.Quote(m.Text) })
	w.End('}')
	return openPart, w
}

func (r *Record) writeOpen(w *event.Writer) {
	in := &r.Input
	w.Begin('{')
	w.Str("decision", in.Decision)
	w.At("at", in.Now)
	w.Str("jurisdiction", in.Facts.Jurisdiction)
	w.OptStr("brand", in.Facts.Brand)
	w.Str("state_version", in.StateVersion)
	w.Str("feature_set", in.FeatureSet)
	event.OptList(w, "models", in.Models, func(w *event.Writer, m *event.ModelRun) {
		w.Begin('{')
		m.WriteModel(w)
		w.End('}')
	})
	event.OptList(w, "killed", in.Killed, event.QuoteEach)
	r.Decision.writeOpen(w, "result")
	w.End('}')
}

// writeOpen writes d without what is personal: Params and the markers' texts.
func (d *Decision) writeOpen(w *event.Writer, name string) {
	w.Name(name)
	w.Begin('{')
	w.Bool("issued", d.Issued)
	w.Str("action", d.Action)
	w.OptStr("kind", d.Kind)
	w.OptStr("channel", d.Channel)
	w.OptStr("severity", d.Severity)
	w.OptStr("message", d.Message)
	w.OptAt("expires", d.Expires)
	w.Str("arm", d.Arm)
	w.OptTrue("holdout", d.Holdout)
	w.Num("propensity", d.Propensity)
	event.OptList(w, "review", d.Review, event.QuoteEach)
	event.List(w, "reasons", d.Reasons, event.WriteReason)
	event.List(w, "candidates", d.Candidates, writeCandidate)
	event.OptList(w, "markers", d.Markers, writeMarker)
	event.List(w, "rules", d.Rules, writeVerdict)
	w.Str("pack", d.Pack)
	w.Str("policy", d.Policy)
	w.OptStr("learned", d.Learned)
	if s := d.Shadow; s != nil {
		w.Name("shadow")
		w.Begin('{')
		w.Str("learned", s.Learned)
		w.Str("action", s.Action)
		w.Num("propensity", s.Propensity)
		w.End('}')
	}
	w.End('}')
}

func writeCandidate(w *event.Writer, c *Candidate) {
	w.Begin('{')
	w.Str("action", c.Action)
	w.Str("kind", c.Kind)
	w.OptStr("channel", c.Channel)
	w.Num("value", c.Value)
	w.OptNum("learned", c.Learned)
	w.OptNum("propensity", c.Propensity)
	event.OptList(w, "blocked", c.Blocked, event.WriteBlocked)
	w.End('}')
}

func writeMarker(w *event.Writer, m *Marker) {
	w.Begin('{')
	w.Str("id", m.ID)
	w.Num("version", float64(m.Version))
	w.Str("group", m.Group)
	w.Str("strength", m.Strength)
	w.At("at", m.At)
	w.End('}')
}

func writeVerdict(w *event.Writer, v *Verdict) {
	w.Begin('{')
	w.Str("rule", v.Rule)
	w.Num("version", float64(v.Version))
	w.Str("result", v.Result)
	event.OptList(w, "actions", v.Actions, event.QuoteEach)
	w.End('}')
}

func (in *Input) write(w *event.Writer, name string) {
	w.Name(name)
	w.Begin('{')
	w.Str("decision", in.Decision)
	w.Str("player", in.Player)
	in.Trigger.Write(w, "trigger")
	w.At("now", in.Now)
	w.At("as_of", in.AsOf)
	w.Str("state_version", in.StateVersion)
	w.OptTrue("refreshed", in.Refreshed)
	in.Facts.Write(w, "facts")
	event.List(w, "features", in.Features, func(w *event.Writer, x *float64) { w.Number(*x) })
	w.Str("feature_set", in.FeatureSet)
	event.OptList(w, "missing", in.Missing, event.QuoteEach)
	event.OptMap(w, "scores", in.Scores, (*event.Writer).Number)
	event.OptList(w, "models", in.Models, event.WriteRun)
	event.OptList(w, "ranking", in.Ranking, event.WriteRanked)
	in.Contacts.write(w, "contacts")
	in.Linked.write(w, "linked")
	event.OptList(w, "killed", in.Killed, event.QuoteEach)
	w.OptNum("wording", float64(in.Wording))
	w.End('}')
}

// Join reads a record from its parts. If the player was erased, personalPart is nil,
// and Input has only what the open part holds.
func Join(openPart, personalPart []byte) (*Record, error) {
	var o open
	if err := json.Unmarshal(openPart, &o); err != nil {
		return nil, fmt.Errorf("policy: record: %w", err)
	}
	if o.Result == nil {
		return nil, fmt.Errorf("policy: record: not a decision")
	}
	r := &Record{Decision: *o.Result}
	if personalPart != nil {
		p := personal{Input: &r.Input}
		if err := json.Unmarshal(personalPart, &p); err != nil {
			return nil, fmt.Errorf("policy: record: %w", err)
		}
		r.Decision.Params = p.Params
		for i := range min(len(p.Markers), len(r.Decision.Markers)) {
			r.Decision.Markers[i].Text = p.Markers[i]
		}
		return r, nil
	}
	r.Input = Input{Decision: o.Decision, Now: o.At, StateVersion: o.StateVersion, FeatureSet: o.FeatureSet, Killed: o.Killed,
		Facts: event.Facts{Jurisdiction: o.Jurisdiction, Brand: o.Brand}}
	for _, m := range o.Models {
		r.Input.Models = append(r.Input.Models, event.ModelRun{Name: m.Name, Version: m.Version, SHA256: m.SHA256, Output: m.Output})
	}
	return r, nil
}

// Recommendation returns the event data that consuming teams receive.
func (r *Record) Recommendation() *event.Recommendation {
	d := &r.Decision
	out := &event.Recommendation{Decision: r.Input.Decision, Action: d.Action, Kind: d.Kind, Channel: d.Channel, Severity: d.Severity,
		Message: d.Message, Params: d.Params, Reasons: d.Reasons, Scores: r.Input.Scores, Arm: d.Arm, Propensity: d.Propensity,
		DedupKey: r.Input.Decision, DecidedAt: r.Input.Now, Expires: d.Expires, Trigger: r.Input.Trigger, Review: len(d.Review) > 0}
	for _, m := range d.Markers {
		out.Reasons = append(slices.Clip(out.Reasons), event.Reason{Code: "marker:" + m.ID, Text: m.Text})
	}
	for _, c := range d.Candidates {
		out.Blocked = append(out.Blocked, c.Blocked...)
	}
	return out
}
