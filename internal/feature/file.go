package feature

import (
	"time"

	"go.yaml.in/yaml/v3"

	"pitboss/internal/strictyaml"
)

// File is the content of features.yaml.
type File struct {
	Version   int                   `yaml:"version"`
	Lateness  strictyaml.Duration   `yaml:"lateness"`
	Rollback  strictyaml.Duration   `yaml:"rollback"`
	Timeline  int                   `yaml:"timeline"`
	Features  []Declaration         `yaml:"features"`
	Reminders []ReminderDeclaration `yaml:"reminders"`
	ScoreWhen []Condition           `yaml:"score_when"`
}

// Defaults of a features.yaml that does not say otherwise.
const (
	DefaultLateness = strictyaml.Duration(10 * time.Minute)
	DefaultTimeline = 512
	defaultDistinct = 64
	defaultNever    = 30 * 24 * 3600 // seconds: the value of since if there was no such event
)

// Declaration is one feature as it stands in the file.
type Declaration struct {
	Name    string              `yaml:"name"`
	Doc     string              `yaml:"doc"`
	On      []string            `yaml:"on"`
	Where   string              `yaml:"where"`
	Value   string              `yaml:"value"`
	Of      string              `yaml:"of"`
	Agg     Agg                 `yaml:"agg"`
	Horizon Horizon             `yaml:"horizon"`
	Expr    string              `yaml:"expr"`
	After   *After              `yaml:"after"`
	Pause   strictyaml.Duration `yaml:"pause"`
	Limit   int                 `yaml:"limit"`
	Empty   *float64            `yaml:"empty"`
	Helper  bool                `yaml:"helper"`
}

// After declares the events whose followers a feature with agg follow counts.
type After struct {
	On     []string            `yaml:"on"`
	Where  string              `yaml:"where"`
	Streak string              `yaml:"streak"`
	Times  int                 `yaml:"times"`
	Within strictyaml.Duration `yaml:"within"`
}

// Agg names an aggregation.
type Agg string

// The aggregations.
const (
	Count    Agg = "count"
	Sum      Agg = "sum"
	Mean     Agg = "mean"
	Ratio    Agg = "ratio"
	Max      Agg = "max"
	Min      Agg = "min"
	Last     Agg = "last"
	Since    Agg = "since"
	Streak   Agg = "streak"
	Changes  Agg = "changes"
	Distinct Agg = "distinct"
	Gap      Agg = "gap"
	Length   Agg = "duration"
	Follow   Agg = "follow"
)

// Horizon says how far back a feature looks. The zero value is lifetime.
type Horizon struct {
	Decay   *Decay   `yaml:"decay"`
	Window  *Window  `yaml:"window"`
	Session *Session `yaml:"session"`
	Month   *Month   `yaml:"month"` // the calendar month so far
}

// Month is the calendar month so far, in UTC or in the time zone that a law prescribes.
type Month struct {
	Zone string `yaml:"zone"` // IANA time zone; empty: UTC
}

// Decay forgets exponentially.
type Decay struct {
	HalfLife strictyaml.Duration `yaml:"half_life"`
}

// Window slides in steps of size / buckets.
type Window struct {
	Size    strictyaml.Duration `yaml:"size"`
	Buckets int                 `yaml:"buckets"`
}

// Session is a run of events with no pause longer than gap.
type Session struct {
	Gap strictyaml.Duration `yaml:"gap"`
	// On lists further events that keep a session open, besides those of the feature.
	On []string `yaml:"on"`
}

// UnmarshalYAML accepts the words lifetime and month, or one of decay, window, session, month.
func (h *Horizon) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode {
		switch node.Value {
		case "lifetime":
		case "month":
			h.Month = &Month{}
		default:
			return strictyaml.At(node, "horizon %q: write lifetime, month, {month: …}, {decay: …}, {window: …} or {session: …}", node.Value)
		}
		return nil
	}
	fields := map[string][]string{"decay": {"half_life"}, "window": {"size", "buckets"}, "session": {"gap", "on"}, "month": {"zone"}}
	if err := strictyaml.Fields(node, "decay", "window", "session", "month"); err != nil {
		return err
	}
	if len(node.Content) != 2 {
		return strictyaml.At(node, "horizon needs exactly one of decay, window, session and month")
	}
	if err := strictyaml.Fields(node.Content[1], fields[node.Content[0].Value]...); err != nil {
		return err
	}
	type plain Horizon
	return node.Decode((*plain)(h))
}

// ReminderDeclaration is one reminder as it stands in the file.
type ReminderDeclaration struct {
	Name       string              `yaml:"name"`
	Doc        string              `yaml:"doc"`
	After      strictyaml.Duration `yaml:"after"`
	SetWhen    []When              `yaml:"set_when"`
	CancelWhen []When              `yaml:"cancel_when"`
}

// When selects events.
type When struct {
	On    []string `yaml:"on"`
	Where string   `yaml:"where"`
}

// Condition is one entry of score_when.
type Condition struct {
	Name     string              `yaml:"name"`
	Doc      string              `yaml:"doc"`
	On       []string            `yaml:"on"`
	When     string              `yaml:"when"`
	Reminder string              `yaml:"reminder"`
	Markers  string              `yaml:"markers"` // the file of the markers of harm to watch, relative to features.yaml
	Spacing  strictyaml.Duration `yaml:"spacing"`
}
