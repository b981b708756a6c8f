package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"pitboss/internal/event"
)

// Row is a decision with its outcomes. Player is a pseudonym.
type Row struct {
	Player   string
	At       time.Time
	Choice   Choice
	Outcomes []string
	// Known comes from the decision's encrypted part. It is nil if that part is erased
	// or the features of the decision's policy are unknown.
	Known *Known
}

// Choice holds the fields of a decision that reports need. A whole Decision takes some
// kilobytes, too much for a console that reports a million of them.
type Choice struct {
	Issued, Holdout   bool
	Marked            bool // there were markers of harm
	Action, Kind, Arm string
	Propensity        float64
	open              []openCandidate // of a randomised choice
}

// openCandidate is an action that a randomised choice could have taken.
type openCandidate struct {
	action string
	value  float64
}

// randomised reports whether the choice was drawn at random, so that other policies
// can be evaluated by it.
func (c *Choice) randomised() bool {
	return c.Issued && c.Kind != Protection && c.Propensity > 0 && c.Propensity < 1
}

// choiceOf returns the Choice of a decision. word makes equal strings share memory.
func choiceOf(d *Decision, word func(string) string) Choice {
	c := Choice{Issued: d.Issued, Holdout: d.Holdout, Marked: len(d.Markers) > 0, Action: word(d.Action), Kind: word(d.Kind), Arm: word(d.Arm),
		Propensity: d.Propensity}
	if !c.randomised() {
		return c
	}
	for i := range d.Candidates {
		if x := &d.Candidates[i]; x.open() {
			c.open = append(c.open, openCandidate{word(x.Action), x.Value})
		}
	}
	return c
}

// Known holds the parts of a decision's input by which outcomes are measured.
type Known struct {
	AsOf       time.Time
	Limits     map[string]event.Limit
	Exclusions []event.Exclusion
	values     []float64 // of Rows.names
}

// sums lists the features for what a player staked and deposited: ever, and in the
// last 24 hours.
var sums = []string{"stake_sum_total", "stake_sum_24h", "deposit_sum_total", "deposit_sum_24h"}

const (
	stakedEver = iota
	stakedDay
	depositedEver
	depositedDay
)

// Rows collects rows from the journal's entries, which may come in any order.
type Rows struct {
	policy   *Policy
	names    []string // the features that outcomes are measured by: sums, and those of the actions' goals
	list     []Row
	at       map[string]int      // decision that may have outcomes → its row
	outcomes map[string][]string // by decision
	places   map[string][]int    // by policy: the indices of names among its features; -1: missing
	words    map[string]string   // interned strings
	latest   map[string]*Known   // by player
}

// NewRows returns empty Rows. Their report uses the goals and the holdout of p.
func NewRows(p *Policy) *Rows {
	r := &Rows{policy: p, names: slices.Clone(sums), at: map[string]int{}, outcomes: map[string][]string{}, places: map[string][]int{}, words: map[string]string{}, latest: map[string]*Known{}}
	for _, a := range p.Actions() {
		if a.Goal != nil && !slices.Contains(r.names, a.Goal.Since) {
			r.names = append(r.names, a.Goal.Since)
		}
	}
	return r
}

// Decision adds a decision from the parts of its entry. personal is nil if it can't be
// decrypted. player is a pseudonym. features returns the features, in order, of the
// policy with a hash, or nil if they are unknown.
func (r *Rows) Decision(player string, open, personal []byte, features func(hash string) ([]string, error)) error {
	rec, err := Join(open, nil)
	if err != nil {
		return err
	}
	row := Row{Player: r.word(player), At: rec.Input.Now, Choice: choiceOf(&rec.Decision, r.word)}
	if personal != nil {
		if row.Known, err = r.known(personal, rec.Decision.Policy, features); err != nil {
			return err
		}
		r.share(row.Player, row.Known)
	}
	if row.Choice.Issued {
		r.at[rec.Input.Decision] = len(r.list)
	}
	r.list = append(r.list, row)
	return nil
}

// share makes consecutive rows of a player share the memory of equal limits and
// exclusions.
func (r *Rows) share(player string, k *Known) {
	if k == nil {
		return
	}
	if was := r.latest[player]; was != nil {
		if maps.Equal(k.Limits, was.Limits) {
			k.Limits = was.Limits
		}
		if slices.Equal(k.Exclusions, was.Exclusions) {
			k.Exclusions = was.Exclusions
		}
	}
	r.latest[player] = k
}

func (r *Rows) word(s string) string {
	kept, ok := r.words[s]
	if !ok {
		kept = strings.Clone(s) // s may keep a whole entry in memory
		r.words[kept] = kept
	}
	return kept
}

// known reads only the fields of Known from a decision's encrypted part.
func (r *Rows) known(personal []byte, policy string, features func(hash string) ([]string, error)) (*Known, error) {
	places, ok := r.places[policy]
	if !ok {
		names, err := features(policy)
		if err != nil {
			return nil, err
		}
		if names != nil {
			places = make([]int, len(r.names))
			for i, name := range r.names {
				places[i] = slices.Index(names, name)
			}
		}
		r.places[policy] = places
	}
	if places == nil || slices.Contains(places, -1) {
		return nil, nil
	}
	var part struct {
		Input struct {
			AsOf  time.Time `json:"as_of"`
			Facts struct {
				Limits     map[string]event.Limit `json:"limits"`
				Exclusions []event.Exclusion      `json:"exclusions"`
			} `json:"facts"`
			Features []float64 `json:"features"`
			Missing  []string  `json:"missing"`
		} `json:"input"`
	}
	if err := json.Unmarshal(personal, &part); err != nil {
		return nil, fmt.Errorf("policy: record: %w", err)
	}
	in := &part.Input
	k := &Known{AsOf: in.AsOf, Limits: in.Facts.Limits, Exclusions: in.Facts.Exclusions, values: make([]float64, len(places))}
	for i, at := range places {
		if at >= len(in.Features) || slices.Contains(in.Missing, r.names[i]) {
			return nil, nil
		}
		k.values[i] = in.Features[at]
	}
	return k, nil
}

// Outcome adds an outcome of a decision.
func (r *Rows) Outcome(open []byte) error {
	var out Outcome
	if err := json.Unmarshal(open, &out); err != nil {
		return fmt.Errorf("policy: outcome: %w", err)
	}
	r.outcomes[out.Decision] = append(r.outcomes[out.Decision], r.word(out.Status))
	return nil
}

// All returns the rows with their outcomes.
func (r *Rows) All() []Row {
	for id, list := range r.outcomes {
		if n, ok := r.at[id]; ok {
			r.list[n].Outcomes = list
		}
	}
	return r.list
}
