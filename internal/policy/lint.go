package policy

import (
	"regexp"
	"strings"
)

// vulnerabilities are variables that marketing may be neither chosen nor valued by:
// AI Act art. 5(1)(b) forbids techniques that exploit a person's vulnerability. Rules
// may stop marketing by them.
var vulnerabilities = []string{"scores.harm", "features.chase", "features.loss_streak", "features.net_10m",
	"features.net_1h", "features.net_24h", "features.session_net", "features.night_share_7d",
	"player.strong_indicator", "player.low_indicator"}

// manipulations are phrases that put pressure on a player or mislead one: AI Act art.
// 5(1)(a); MGA Directive 2/2018 on encouraging a player to chase losses.
var manipulations = []string{"last chance", "win it back", "win back", "recover your losses", "you are due", "don't miss",
	"can't lose", "risk-free", "risk free", "guaranteed", "hurry", "only minutes left", "luck is about to"}

// placeholders matches the parameters in a message: {name}.
var placeholders = regexp.MustCompile(`\{(\w+)\}`)

func (l *loader) lint(path, what string, a *action) {
	message := strings.ToLower(a.decl.Message)
	for _, phrase := range manipulations {
		if strings.Contains(message, phrase) {
			l.problem(path+".message", what, "AI Act art. 5(1)(a): say what is offered, without pressure", "the message says %q", phrase)
		}
	}
	for _, name := range placeholders.FindAllStringSubmatch(a.decl.Message, -1) {
		if _, ok := a.decl.Params[name[1]]; !ok {
			l.problem(path+".message", what, "declare it under params", "the message has {%s}, but no parameter has that name", name[1])
		}
	}
	if a.decl.AIGenerated && !a.decl.AIDisclosed {
		l.problem(path, what, "AI Act art. 50: say so in the message and set ai_disclosed", "AI-generated content is not disclosed")
	}
	if a.decl.Kind != Marketing || a.eligible == nil || a.value == nil {
		return
	}
	for _, v := range vulnerabilities {
		if a.value.reads(v) || a.eligible.reads(v) {
			l.problem(path, what, "AI Act art. 5(1)(b): stop it with a rule instead of choosing by it", "marketing is chosen by %s", v)
		}
	}
}
