package policy

import (
	"fmt"
	"time"

	"go.yaml.in/yaml/v3"

	"pitboss/internal/strictyaml"
)

// Date is a day, YYYY-MM-DD, from its start in UTC.
type Date struct{ time.Time }

// UnmarshalYAML calls UnmarshalText and adds the line to its error.
func (d *Date) UnmarshalYAML(n *yaml.Node) error { return strictyaml.Text(n, d) }

// UnmarshalText reads YYYY-MM-DD.
func (d *Date) UnmarshalText(b []byte) error {
	t, err := time.Parse(time.DateOnly, string(b))
	d.Time = t
	if err != nil {
		return fmt.Errorf("%q is not a date, YYYY-MM-DD", b)
	}
	return nil
}

// ActionFile is the content of actions.yaml.
type ActionFile struct {
	Version    int        `yaml:"version"`
	Experiment Experiment `yaml:"experiment"`
	// Contact limits all marketing together, and all service together, in addition to
	// each action's own contact policy.
	Contact map[string]Contact `yaml:"contact"`
	// MaxAge is how old the player's latest event may be. After that, service and
	// marketing come too late.
	MaxAge strictyaml.Duration `yaml:"max_age"`
	// Licensees lists where each licensee holds a licence. A player without a licensee
	// belongs to "default".
	Licensees map[string][]string `yaml:"licensees"`
	// LinkConfidence is the confidence from which a link between an account and a
	// person counts, in percent.
	LinkConfidence int `yaml:"link_confidence"`
	// AfterProtection is how long marketing and prompts wait after a protection
	// message, by its severity.
	AfterProtection map[string]Silence `yaml:"after_protection"`
	Actions         []ActionDecl       `yaml:"actions"`
}

// Silence is how long marketing, and service that asks to play, wait.
type Silence struct {
	Marketing strictyaml.Duration `yaml:"marketing"`
	Prompts   strictyaml.Duration `yaml:"prompts"`
}

// Experiment assigns players to the holdout and the arms. The assignment depends only
// on the player and the salt.
type Experiment struct {
	Salt    string  `yaml:"salt"`
	Holdout float64 `yaml:"holdout"` // share of players who get protection only
	Arms    []Arm   `yaml:"arms"`
}

// Arm is a variant of the choice among eligible actions.
type Arm struct {
	Name  string  `yaml:"name"`
	Share float64 `yaml:"share"` // of the players not held out; the shares sum to 1
	// Temperature of the softmax over values: 0 takes the best, large is random.
	Temperature float64 `yaml:"temperature"`
	// Learned arms choose by the learned policy (learning.yaml), or by the softmax if
	// there is none.
	Learned bool `yaml:"learned"`
}

// Contact is a contact policy; zero fields don't limit.
type Contact struct {
	PerDay  int                 `yaml:"per_day"`
	PerWeek int                 `yaml:"per_week"`
	Spacing strictyaml.Duration `yaml:"spacing"`
	Quiet   string              `yaml:"quiet"` // "21:00-08:00" in the player's time zone
	// QuietOn are the channels that quiet hours hold for; default all but in_app.
	QuietOn []string `yaml:"quiet_on"`
}

// ActionDecl is one action as it stands in the file.
type ActionDecl struct {
	ID       string `yaml:"id"`
	Doc      string `yaml:"doc"`
	Content  `yaml:",inline"`
	Channels []string            `yaml:"channels"` // in order of preference
	Severity string              `yaml:"severity"` // info | notice | warning | urgent
	Eligible string              `yaml:"eligible"` // CEL, bool
	Value    string              `yaml:"value"`    // CEL, double: expected value, minor units
	Contact  Contact             `yaml:"contact"`
	Expiry   strictyaml.Duration `yaml:"expiry"`
	Goal     *Goal               `yaml:"goal"` // what its success is measured by
	Message  string              `yaml:"message"`
	// Params maps a name to CEL, to fill {name} in the message.
	Params map[string]string `yaml:"params"`
}

// Content is what rules judge an action by.
type Content struct {
	Kind     string `yaml:"kind"`
	Product  string `yaml:"product"`  // the product it advertises; default all
	Category string `yaml:"category"` // the category of games it is about: slots, table, in_play, …; empty: any
	Bonus    *Bonus `yaml:"bonus"`
	// Prompts is what the message asks the player to do: deposit, play.
	Prompts     []string `yaml:"prompts"`
	Stake       int64    `yaml:"stake"`        // highest stake it proposes, minor units
	AutoStart   bool     `yaml:"auto_start"`   // starts rounds by itself
	LoosenLimit bool     `yaml:"loosen_limit"` // proposes a looser limit
	Countdown   bool     `yaml:"countdown"`    // says that time runs out
	AIGenerated bool     `yaml:"ai_generated"` // wording or chat comes from generative AI
	AIDisclosed bool     `yaml:"ai_disclosed"` // and says so
}

// Goal is reached if an event happens within a time. The event is the one since which
// a feature counts the seconds.
type Goal struct {
	Since  string              `yaml:"since"`  // a feature: since_deposit_s
	Within strictyaml.Duration `yaml:"within"` // of the message
}

// Bonus is the bonus of an offer.
type Bonus struct {
	Wagering int      `yaml:"wagering"` // times the bonus
	Products []string `yaml:"products"` // product types it must be played on
	// QualifiesOn are product types that must be played to get it.
	QualifiesOn []string `yaml:"qualifies_on"`
	Cashback    bool     `yaml:"cashback"` // it gives lost stakes back
	Amount      int64    `yaml:"amount"`   // the most it is worth, minor units; 0: not said
	// FreeChoice: the player may choose any product (an exception to mixing).
	FreeChoice bool `yaml:"free_choice"`
}

// PackFile is the content of models/rules/<jurisdiction>.yaml.
type PackFile struct {
	Pack    string   `yaml:"pack"` // jurisdiction, "default", or the name of a shared pack
	Title   string   `yaml:"title"`
	Shared  bool     `yaml:"shared"`  // no jurisdiction: only included by others
	Include []string `yaml:"include"` // packs whose rules hold here too; "*": all of them
	// The declaration of a jurisdiction. A shared pack has none.
	MinAge      map[string]int `yaml:"min_age"`     // by product; "all": of the other products
	Products    []string       `yaml:"products"`    // what may lawfully be offered online
	Advertising string         `yaml:"advertising"` // legal | illegal: advertising to a player
	Bonuses     string         `yaml:"bonuses"`     // legal | illegal
	Licence     string         `yaml:"licence"`     // required | not-required
	Languages   []string       `yaml:"languages"`   // of the sources
	Reviewed    *bool          `yaml:"reviewed"`    // the declaration was read against its sources
	Retention   *Retention     `yaml:"retention"`   // of records about erased players
	Rules       []RuleDecl     `yaml:"rules"`
}

// RuleDecl is one rule as it stands in the file.
type RuleDecl struct {
	ID        string     `yaml:"id"`
	Version   int        `yaml:"version"`
	Text      string     `yaml:"text"` // plain language
	Source    Source     `yaml:"source"`
	Effective Effective  `yaml:"effective"`
	Effect    string     `yaml:"effect"`   // deny | allow-only | cap | require-review
	Severity  string     `yaml:"severity"` // law | licence | policy
	Reviewed  bool       `yaml:"reviewed"`
	AppliesTo []string   `yaml:"applies_to"` // kinds of actions; default marketing
	When      string     `yaml:"when"`       // CEL, bool
	Cap       *Cap       `yaml:"cap"`
	Tests     []RuleTest `yaml:"tests"`
}

// Source is where a rule comes from.
type Source struct {
	Document string `yaml:"document"`
	Article  string `yaml:"article"`
	Date     string `yaml:"date"`
}

func (s Source) String() string {
	out := s.Document
	if s.Article != "" {
		out += ", " + s.Article
	}
	if s.Date != "" {
		out += " (" + s.Date + ")"
	}
	return out
}

// Effective is when a rule holds: From is the first day, Until the first day after.
type Effective struct {
	From  Date `yaml:"from"`
	Until Date `yaml:"until"`
}

func (e Effective) at(now time.Time) bool {
	return !now.Before(e.From.Time) && (e.Until.IsZero() || now.Before(e.Until.Time))
}

// Cap is the limit of a rule with effect cap: at most Max of Count per Per.
type Cap struct {
	Count string              `yaml:"count"` // marketing | bonus | protection | action
	Max   int                 `yaml:"max"`
	Per   strictyaml.Duration `yaml:"per"` // 0: ever (bonus only)
}

// RuleTest is an example of a rule: a player, an action and the expected result. The
// defaults are an adult of the pack's jurisdiction who opted in to everything, and a
// plain marketing message in the app.
type RuleTest struct {
	Name     string             `yaml:"name"`
	Facts    map[string]any     `yaml:"facts"` // as event.Facts in JSON
	Age      *int               `yaml:"age"`
	Features map[string]float64 `yaml:"features"`
	Scores   map[string]float64 `yaml:"scores"`
	Action   TestAction         `yaml:"action"`
	Contacts int                `yaml:"contacts"` // earlier ones of the cap's kind, an hour ago
	Now      string             `yaml:"now"`      // RFC 3339; default noon on 2026-06-15
	Expect   string             `yaml:"expect"`   // pass | deny | review
}

// TestAction is the action of a [RuleTest].
type TestAction struct {
	Channel string `yaml:"channel"`
	Content `yaml:",inline"`
}
