package policy

import (
	"fmt"
	"sort"
	"sync"
	"time"

	"github.com/google/cel-go/cel"
)

// variable is one name that expressions may use.
type variable struct {
	name string
	typ  *cel.Type
	doc  string
	// perAction variables differ between candidates; others are the same in the whole decision.
	perAction bool
	get       func(*scope) any // returns nil if the value is unknown
}

// vocabulary lists the variables of expressions, besides features.NAME and scores.NAME.
var vocabulary = []variable{
	{name: "player.jurisdiction", typ: cel.StringType, doc: "whose law applies; empty: unknown", get: func(s *scope) any { return s.in.Facts.Jurisdiction }},
	{name: "player.brand", typ: cel.StringType, doc: "brand", get: func(s *scope) any { return s.in.Facts.Brand }},
	{name: "player.tier", typ: cel.StringType, doc: "loyalty tier", get: func(s *scope) any { return s.in.Facts.Tier }},
	{name: "player.currency", typ: cel.StringType, doc: "ISO 4217", get: func(s *scope) any { return s.in.Facts.Currency }},
	{name: "player.last_game", typ: cel.StringType, doc: "game of the last round or launch", get: func(s *scope) any { return s.in.Facts.LastGame }},
	{name: "player.failed_game", typ: cel.StringType, doc: "game that failed to load last", get: func(s *scope) any { return s.in.Facts.FailedGame }},
	{name: "player.age_known", typ: cel.BoolType, doc: "a birth date is known", get: func(s *scope) any { return s.age >= 0 }},
	{name: "player.age", typ: cel.IntType, doc: "full years, in the player's time zone; can't be evaluated where unknown", get: func(s *scope) any {
		if s.age < 0 {
			return nil
		}
		return int64(s.age)
	}},
	{name: "player.excluded", typ: cel.BoolType, doc: "an exclusion was set and not lifted, though it may have expired", get: func(s *scope) any { return len(s.in.Facts.Exclusions) > 0 }},
	{name: "player.excluded_by", typ: cel.ListType(cel.StringType), doc: "the schemes of those exclusions", get: func(s *scope) any { return s.schemes() }},
	{name: "player.returned_24h", typ: cel.BoolType, doc: "an exclusion was lifted in the last 24 hours", get: func(s *scope) any {
		return !s.in.Facts.Returned.IsZero() && s.in.Now.Sub(s.in.Facts.Returned) < 24*time.Hour
	}},
	{name: "player.bonus_ever", typ: cel.BoolType, doc: "a bonus was ever granted or recommended", get: func(s *scope) any { return s.in.Facts.BonusEver || s.in.Contacts.Bonuses > 0 }},
	{name: "player.strong_indicator", typ: cel.BoolType, doc: "a strong indicator of harm, from any group: raised by the platform, or a marker that Pitboss saw", get: func(s *scope) any { return s.indicator("strong") }},
	{name: "player.low_indicator", typ: cel.BoolType, doc: "a low indicator of harm, from any group, likewise", get: func(s *scope) any { return s.indicator("low") }},
	{name: "player.markers", typ: cel.ListType(cel.StringType), doc: "the markers of markers.yaml that hold", get: func(s *scope) any { return markerIDs(s.markers) }},
	{name: "player.product", typ: cel.StringType, doc: "product of the last round or launch; empty: unknown", get: func(s *scope) any { return s.in.Facts.LastProduct }},
	{name: "player.category", typ: cel.StringType, doc: "slots, table, in_play, …: of the last round or launch; empty: not told", get: func(s *scope) any { return s.in.Facts.LastCategory }},
	{name: "player.licensee", typ: cel.StringType, doc: "whose licence the player plays under; empty: the default", get: func(s *scope) any { return s.in.Facts.Licensee }},
	{name: "player.affordability", typ: cel.StringType, doc: "clear, vulnerable or pending: the last financial check; empty: none", get: func(s *scope) any { return s.in.Facts.Affordability }},
	{name: "player.zone_known", typ: cel.BoolType, doc: "the player's time zone is known", get: func(s *scope) any { return s.zone }},
	{name: "player.limit_reached_24h", typ: cel.BoolType, doc: "a limit was reached in the last 24 hours", get: func(s *scope) any { return s.limitReached() }},
	{name: "player.has_limit", typ: cel.BoolType, doc: "the player set any limit", get: func(s *scope) any { return len(s.in.Facts.Limits) > 0 }},
	{name: "next.known", typ: cel.BoolType, doc: "a next game was ranked", get: func(s *scope) any { return len(s.in.Ranking) > 0 }},
	{name: "next.game", typ: cel.StringType, doc: "the best-ranked next game", get: func(s *scope) any {
		if len(s.in.Ranking) == 0 {
			return ""
		}
		return s.in.Ranking[0].Item
	}},
	{name: "hour", typ: cel.IntType, doc: "hour of day, 0 to 23, in the player's time zone", get: func(s *scope) any { return int64(s.local.Hour()) }},
	{name: "consent.given", typ: cel.BoolType, perAction: true, doc: "the player opted in to the action's product on its channel, and did not opt out", get: func(s *scope) any { given, _ := s.optIn(); return given }},
	{name: "consent.on_site", typ: cel.BoolType, perAction: true, doc: "such an opt-in was given on the operator's site or in its app", get: func(s *scope) any { _, onSite := s.optIn(); return onSite }},
	{name: "action.id", typ: cel.StringType, perAction: true, doc: "action", get: func(s *scope) any { return s.act.decl.ID }},
	{name: "action.kind", typ: cel.StringType, perAction: true, doc: "service, protection or marketing", get: func(s *scope) any { return s.act.decl.Kind }},
	{name: "action.channel", typ: cel.StringType, perAction: true, doc: "in_app, push, email, sms, phone or post", get: func(s *scope) any { return s.channel }},
	{name: "action.product", typ: cel.StringType, perAction: true, doc: "casino, live, sports, … or all", get: func(s *scope) any { return s.act.decl.Product }},
	{name: "action.category", typ: cel.StringType, perAction: true, doc: "kind of game it is about; empty: any", get: func(s *scope) any { return s.act.decl.Category }},
	{name: "action.bonus", typ: cel.BoolType, perAction: true, doc: "it comes with a bonus, free spins or cash credit", get: func(s *scope) any { return s.act.decl.Bonus != nil }},
	{name: "action.wagering", typ: cel.IntType, perAction: true, doc: "how many times the bonus must be wagered", get: func(s *scope) any { return int64(s.act.bonus().Wagering) }},
	{name: "action.bonus_products", typ: cel.IntType, perAction: true, doc: "product types that must be played to get the bonus or to use it", get: func(s *scope) any { return s.act.bonus().products() }},
	{name: "action.bonus_amount", typ: cel.IntType, perAction: true, doc: "the most that the bonus is worth, minor units of the player's currency; can't be evaluated where the action does not say", get: func(s *scope) any {
		if s.act.bonus().Amount == 0 {
			return nil
		}
		return s.act.bonus().Amount
	}},
	{name: "action.cashback", typ: cel.BoolType, perAction: true, doc: "it gives lost stakes back", get: func(s *scope) any { return s.act.bonus().Cashback }},
	{name: "action.countdown", typ: cel.BoolType, perAction: true, doc: "it says that time runs out", get: func(s *scope) any { return s.act.decl.Countdown }},
	{name: "action.free_choice", typ: cel.BoolType, perAction: true, doc: "the bonus may be played on any product", get: func(s *scope) any { return s.act.bonus().FreeChoice }},
	{name: "action.asks_deposit", typ: cel.BoolType, perAction: true, doc: "it asks the player to deposit", get: func(s *scope) any { return s.act.deposit }},
	{name: "action.asks_play", typ: cel.BoolType, perAction: true, doc: "it asks the player to play", get: func(s *scope) any { return s.act.play }},
	{name: "action.stake", typ: cel.IntType, perAction: true, doc: "the highest stake it proposes, minor units; 0: none", get: func(s *scope) any { return s.act.decl.Stake }},
	{name: "action.auto_start", typ: cel.BoolType, perAction: true, doc: "it starts rounds by itself", get: func(s *scope) any { return s.act.decl.AutoStart }},
	{name: "action.loosens_limit", typ: cel.BoolType, perAction: true, doc: "it proposes a looser limit", get: func(s *scope) any { return s.act.decl.LoosenLimit }},
	{name: "action.ai_generated", typ: cel.BoolType, perAction: true, doc: "its wording comes from generative AI", get: func(s *scope) any { return s.act.decl.AIGenerated }},
	{name: "action.ai_disclosed", typ: cel.BoolType, perAction: true, doc: "and it says so", get: func(s *scope) any { return s.act.decl.AIDisclosed }},
}

// Scores lists the model outputs that expressions may use.
var Scores = []string{"leave", "harm"}

// language is the compiled vocabulary over one list of features.
type language struct {
	env      *cel.Env
	ids      map[string]int // variable → index
	vars     []variable
	features int // index of the first feature

	featureNames []string
	known        sync.Map // text → func() compiled
}

func newLanguage(features []string) (*language, error) {
	l := &language{ids: map[string]int{}, featureNames: features}
	opts := []cel.EnvOption{}
	add := func(v variable) {
		l.ids[v.name] = len(l.vars)
		l.vars = append(l.vars, v)
		opts = append(opts, cel.Variable(v.name, v.typ))
	}
	for _, v := range vocabulary {
		add(v)
	}

	for _, name := range Scores {
		add(variable{name: "scores." + name, typ: cel.DoubleType, get: func(s *scope) any {
			if v, ok := s.scores[name]; ok {
				return v
			}
			return nil
		}})
	}
	l.features = len(l.vars)
	for i, name := range features {
		add(variable{name: "features." + name, typ: cel.DoubleType, get: func(s *scope) any {
			if v, ok := s.in.feature(features, i); ok {
				return v
			}
			return nil
		}})
	}
	env, err := cel.NewEnv(opts...)
	if err != nil {
		return nil, fmt.Errorf("policy: vocabulary: %w", err)
	}
	l.env = env
	return l, nil
}

// Vocabulary lists the variables of expressions with their meaning, sorted by name.
func Vocabulary() [][2]string {
	out := make([][2]string, 0, len(vocabulary)+len(Scores)+1)
	for _, v := range vocabulary {
		out = append(out, [2]string{v.name, v.doc})
	}
	for _, s := range Scores {
		out = append(out, [2]string{"scores." + s, "model output; can't be evaluated where no model gave it"})
	}
	out = append(out, [2]string{"features.NAME", "any feature of features.yaml"})
	sort.Slice(out, func(a, b int) bool { return out[a][0] < out[b][0] })
	return out
}
