// Package policy picks the next best action that law and policy allow.
//
// It is pure: the same [Policy] (models/actions.yaml and models/rules/*.yaml,
// compiled) and [Input] always give the same [Decision], bit for bit. Random choices
// (exploration, holdout, arms) are hashes of player, decision and experiment, so that
// a stored decision can be reproduced.
//
// Deny overrides. A rule that can't be evaluated denies. In an unknown jurisdiction
// the rules of all packs hold at once. Rules about marketing never deny protection
// messages: the loader refuses such a rule.
//
// Rule packs are the project's reading of the sources they name. They are not
// legal advice; a lawyer reviews a pack before production.
package policy

import (
	"time"

	"pitboss/internal/event"
)

// Disclaimer is shown wherever a rule is shown.
const Disclaimer = "This is not legal advice. A lawyer must review a rule pack before production; rules marked `reviewed: false` were never read against their source."

// The kinds of actions.
const (
	Service    = "service"
	Protection = "protection"
	Marketing  = "marketing"
)

// Input is everything a decision depends on.
type Input struct {
	Decision     string        `json:"decision"` // id
	Player       string        `json:"player"`
	Trigger      event.Trigger `json:"trigger"`
	Now          time.Time     `json:"now"`
	AsOf         time.Time     `json:"as_of"` // latest event in the state
	StateVersion string        `json:"state_version"`
	// Refreshed: facts and features are of a newer state than the scores.
	Refreshed bool        `json:"refreshed,omitzero"`
	Facts     event.Facts `json:"facts"`
	// Features in the order of the policy's feature names.
	Features   []float64 `json:"features"`
	FeatureSet string    `json:"feature_set"`
	// Missing lists features without a value, because the event was made with
	// another features.yaml. Expressions that read them can't be evaluated.
	Missing  []string           `json:"missing,omitempty"`
	Scores   map[string]float64 `json:"scores,omitempty"`
	Models   []event.ModelRun   `json:"models,omitempty"`
	Ranking  []event.Ranked     `json:"ranking,omitempty"`
	Contacts *Contacts          `json:"contacts"`
	// Linked holds the restrictions that come from other accounts of the same person,
	// or nil if there are none. Facts and Contacts are the player's own.
	Linked *Linked `json:"linked,omitempty"`
	// Killed lists the kill switches that are on: see [Switch].
	Killed []string `json:"killed,omitempty"`
	// Wording is the version of the texts, so that a stored decision is reproduced
	// with the texts it had: [Wording], or 0 in decisions from before it existed.
	Wording int `json:"wording,omitzero"`
}

// Happened returns when the event that asks for the decision happened. AsOf may be
// later, and differs each time that profile answers a redelivery of the event.
func (in *Input) Happened() time.Time {
	if at := in.Trigger.Time; !at.IsZero() && at.Before(in.AsOf) {
		return at
	}
	return in.AsOf
}

// Wording is the current version of the texts: durations are in words. Version 0
// writes them as Go does, 1m59s.
const Wording = 1

// Decision is what was decided and why. If Issued, Action is sent. Otherwise Action
// is the best action that was stopped, or [NoAction].
type Decision struct {
	Issued     bool           `json:"issued"`
	Action     string         `json:"action"`
	Kind       string         `json:"kind,omitzero"`
	Channel    string         `json:"channel,omitzero"`
	Severity   string         `json:"severity,omitzero"`
	Message    string         `json:"message,omitzero"`
	Params     map[string]any `json:"params,omitempty"`
	Expires    time.Time      `json:"expires,omitzero"`
	Arm        string         `json:"arm"`
	Holdout    bool           `json:"holdout,omitzero"`
	Propensity float64        `json:"propensity"`
	Review     []string       `json:"review,omitempty"` // rules that ask for a person
	Reasons    []event.Reason `json:"reasons"`
	Candidates []Candidate    `json:"candidates"`
	Markers    []Marker       `json:"markers,omitempty"` // of harm, that held
	Rules      []Verdict      `json:"rules"`
	Pack       string         `json:"pack"` // whose rules applied
	Policy     string         `json:"policy"`
	// Learned is the hash of the learned snapshot that made the choice, if one did.
	Learned string `json:"learned,omitzero"`
	// Shadow is the choice of the learned policy in the shadow, if there is one.
	Shadow *Shadowed `json:"shadow,omitempty"`
}

// Blocks returns what stopped an action, or nil if nothing did or it was not eligible.
func (d *Decision) Blocks(action string) []event.Blocked {
	for i := range d.Candidates {
		if d.Candidates[i].Action == action {
			return d.Candidates[i].Blocked
		}
	}
	return nil
}

// Shadowed is the choice of a learned policy in the shadow. It has no effect.
type Shadowed struct {
	Learned    string  `json:"learned"` // the snapshot's hash
	Action     string  `json:"action"`
	Propensity float64 `json:"propensity"`
}

// Candidate is an eligible action and what became of it.
type Candidate struct {
	Action     string          `json:"action"`
	Kind       string          `json:"kind"`
	Channel    string          `json:"channel,omitzero"`
	Value      float64         `json:"value"`
	Learned    float64         `json:"learned,omitzero"` // expected reward by the learned policy
	Propensity float64         `json:"propensity,omitzero"`
	Blocked    []event.Blocked `json:"blocked,omitempty"`
}

// Verdict is the result of one rule: one of the Verdict constants.
type Verdict struct {
	Rule    string   `json:"rule"`
	Version int      `json:"version"`
	Result  string   `json:"result"`
	Actions []string `json:"actions,omitempty"` // denied, or to be reviewed
}

// The results of a rule.
const (
	VerdictPass   = "pass"
	VerdictDeny   = "deny"
	VerdictReview = "review"
	VerdictDoubt  = "doubt" // could not be evaluated: denies
	VerdictIdle   = "idle"  // no candidate was of a kind it applies to
)

// NoAction is Decision.Action where nothing was eligible.
const NoAction = "none"

// Blocks that are not rules of a pack.
const (
	BlockCap     = "contact-cap"
	BlockSpacing = "contact-spacing"
	BlockQuiet   = "quiet-hours"
	BlockKill    = "kill-switch"
	BlockStale   = "too-late"
	BlockHold    = "on-hold"
	BlockClosed  = "missing-input"
	BlockMessage = "message-incomplete"
	BlockSilence = "after-protection"
)

// Switch returns the name of a kill switch. what is "jurisdiction", "action",
// "model" or "rule". The switch of a jurisdiction stops service and marketing there.
// That of an action stops the action, whatever its kind. That of a model makes its
// score count as missing, which stops marketing that needs it. That of a rule denies
// every action that the rule governs, protection excepted.
func Switch(what, name string) string { return what + "/" + name }
