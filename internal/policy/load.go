package policy

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/cel-go/cel"

	"pitboss/internal/strictyaml"
)

var (
	channelNames  = []string{"in_app", "push", "email", "sms", "phone", "post"}
	productNames  = []string{"casino", "live", "sports", "poker", "bingo", "lottery", "all"}
	severityNames = []string{"info", "notice", "warning", "urgent"}
	effectNames   = []string{"deny", "allow-only", "cap", "require-review"}
	ruleSeverity  = []string{"law", "licence", "policy"}
	promptNames   = []string{"deposit", "play"}
	countNames    = []string{"marketing", "bonus", "protection", "action"}
	categoryNames = []string{"", "slots", "table", "crash", "instant", "poker", "bingo", "lottery", "pre_match", "in_play", "virtual"}
)

// loader compiles files and collects every mistake.
type loader struct {
	p        *Policy
	problems strictyaml.Problems
	src      *source
	ids      map[string]string // rule id → file
	legacy   bool              // the policy was stored before markers.yaml existed
}

func (l *loader) add(p *strictyaml.Problem) {
	if p != nil {
		l.problems = append(l.problems, p)
	}
}

// problem adds a mistake in the file that is being loaded.
func (l *loader) problem(path, what, remedy, format string, args ...any) {
	l.add(l.src.problem(path, what, remedy, format, args...))
}

func (l *loader) oneOf(path, what, field, got string, names []string) bool {
	if slices.Contains(names, got) {
		return true
	}
	l.problem(path, what, "use one of "+strings.Join(names, ", "), "%s is %q", field, got)
	return false
}

// expression compiles text, or otherwise if text is empty.
func (l *loader) expression(path, what, text, otherwise string, want *cel.Type) *expression {
	text = cmp.Or(text, otherwise)
	e, err := l.p.lang.compile(text, want)
	if err != nil {
		l.problem(path, what, "`pitboss rules explain --vocabulary` lists the names that expressions may use", "%v", err)
	}
	return e
}

// read decodes all files concurrently. It returns the packs sorted by name.
func (l *loader) read() []*packFile {
	var packs []*packFile
	for _, name := range slices.Sorted(maps.Keys(l.p.files)) {
		if strings.HasPrefix(name, "rules/") {
			packs = append(packs, &packFile{src: newSource(name, l.p.files[name])})
		}
	}
	var work sync.WaitGroup
	for _, f := range packs {
		work.Go(func() { f.problem = decodeYAML(f.src, &f.PackFile) })
	}
	l.src = newSource("actions.yaml", l.p.files["actions.yaml"])
	if l.src.text == nil {
		l.add(&strictyaml.Problem{File: l.src.file, Detail: "is missing"})
	} else {
		l.add(decodeYAML(l.src, &l.p.file))
	}
	work.Wait()
	if text, ok := l.p.files[markersName]; ok {
		l.add(decodeYAML(newSource(markersName, text), &l.p.signs))
	} else if !l.legacy {
		l.add(&strictyaml.Problem{File: markersName, Detail: "is missing", Remedy: "signs of harm are declared there; write `version: 1` and `markers: []` for none"})
	}
	return packs
}

// packFile is a rule pack's file, decoded.
type packFile struct {
	PackFile
	src     *source
	problem *strictyaml.Problem
}

// texts lists the expressions in all files.
func (l *loader) texts(packs []*packFile) []string {
	var out []string
	for i := range l.p.file.Actions {
		a := &l.p.file.Actions[i]
		out = append(out, a.Eligible, a.Value)
		for _, text := range a.Params {
			out = append(out, text)
		}
	}
	for _, f := range packs {
		for i := range f.Rules {
			out = append(out, f.Rules[i].When)
		}
	}
	for _, m := range l.p.signs.Markers {
		out = append(out, m.Unless)
		for _, r := range m.Reads {
			out = append(out, r.Value)
		}
	}
	return slices.DeleteFunc(out, func(text string) bool { return text == "" })
}

func (l *loader) actions() {
	if len(l.problems) > 0 {
		return // a file could not be decoded: its declarations are incomplete
	}
	f := &l.p.file
	l.experiment(&f.Experiment)
	for kind, c := range f.Contact {
		if kindBit(kind) == 0 || kind == Protection {
			l.problem("$.contact", "contact policy "+kind, "only marketing and service have a common contact policy; it never holds protection back", "unknown")
		}
		l.p.quietOf[kind] = l.contact("$.contact."+kind, "contact policy "+kind, c)
	}
	for severity, s := range f.AfterProtection {
		if l.oneOf("$.after_protection", "after_protection", "severity", severity, severityNames) && (s.Marketing < 0 || s.Marketing > strictyaml.Duration(contactsFor) || s.Prompts < 0 || s.Prompts > strictyaml.Duration(contactsFor)) {
			l.problem("$.after_protection", "after_protection", "histories go back 31 days", "%s: marketing %v, prompts %v", severity, time.Duration(s.Marketing), time.Duration(s.Prompts))
		}
	}
	seen := map[string]bool{}
	for i := range f.Actions {
		l.action(fmt.Sprintf("$.actions[%d]", i), &f.Actions[i], seen)
	}
}

func (l *loader) experiment(e *Experiment) {
	const path, what = "$.experiment", "experiment"
	if e.Holdout < 0 || e.Holdout >= 1 {
		l.problem(path, what, "a share, such as 0.05", "holdout is %v", e.Holdout)
	}
	if e.Salt == "" {
		l.problem(path, what, "any text; changing it assigns the players again", "salt is missing")
	}
	if len(e.Arms) == 0 {
		e.Arms = []Arm{{Name: "default", Share: 1}}
	}
	var sum float64
	for _, a := range e.Arms {
		sum += a.Share
		if a.Name == "" || a.Name == HoldoutArm || a.Share <= 0 || a.Temperature < 0 {
			l.problem(path, what, "an arm has a name other than holdout, a share above 0 and a temperature of at least 0", "arm %q", a.Name)
		}
	}
	if math.Abs(sum-1) > 1e-9 {
		l.problem(path, what, "the shares must sum to 1", "the arms' shares sum to %v", sum)
	}
}

func (l *loader) action(path string, d *ActionDecl, seen map[string]bool) {
	what := "action " + d.ID
	if d.ID == "" || d.ID == NoAction || seen[d.ID] {
		l.problem(path, what, "every action has an id of its own", "id %q is empty, reserved or taken", d.ID)
	}
	seen[d.ID] = true
	d.Product = cmp.Or(d.Product, "all")
	d.Severity = cmp.Or(d.Severity, severityNames[0])
	l.oneOf(path, what, "kind", d.Kind, []string{Service, Protection, Marketing})
	l.oneOf(path, what, "product", d.Product, productNames)
	l.oneOf(path, what, "severity", d.Severity, severityNames)
	l.oneOf(path, what, "category", d.Category, categoryNames)
	if _, ok := l.p.file.AfterProtection[d.Severity]; !ok && d.Kind == Protection && !l.legacy {
		l.problem(path, what, "declare under after_protection how long marketing and prompts wait", "after_protection.%s is missing", d.Severity)
	}
	for _, c := range d.Channels {
		l.oneOf(path+".channels", what, "channel", c, channelNames)
	}
	for _, s := range d.Prompts {
		l.oneOf(path+".prompts", what, "prompt", s, promptNames)
	}
	if len(d.Channels) == 0 || d.Expiry <= 0 || d.Message == "" {
		l.problem(path, what, "give channels, expiry and message", "incomplete")
	}
	if d.Kind != Marketing && (d.Bonus != nil || slices.Contains(d.Prompts, "deposit")) {
		l.problem(path, what, "make it kind: marketing, so that the rules about marketing hold for it", "a bonus or a deposit prompt is marketing, not %s", d.Kind)
	}
	if g := d.Goal; g != nil && (d.Kind == Protection || !slices.Contains(l.p.lang.featureNames, g.Since) || g.Within <= 0 || g.Within > strictyaml.Duration(stayedBefore)) {
		l.problem(path+".goal", what, "since is a feature of features.yaml that counts seconds, within at most 24h; protection is measured by what protects", "goal: since %q, within %v", g.Since, time.Duration(g.Within))
	}
	a := newAction(d)
	a.eligible = l.expression(path+".eligible", what+": eligible", d.Eligible, "true", cel.BoolType)
	a.value = l.expression(path+".value", what+": value", d.Value, "0.0", cel.DoubleType)
	a.contact = l.contact(path+".contact", what, d.Contact)
	for _, name := range slices.Sorted(maps.Keys(d.Params)) {
		a.params = append(a.params, param{name, l.expression(path+".params."+name, what+": param "+name, d.Params[name], "", nil)})
	}
	l.lint(path, what, a)
	l.p.actions = append(l.p.actions, a)
}

func (l *loader) contact(path, what string, c Contact) contact {
	out := contact{Contact: c, quietOn: c.QuietOn}
	if out.quietOn == nil {
		out.quietOn = channelNames[1:]
	}
	if c.Spacing > strictyaml.Duration(contactsFor) || c.PerDay < 0 || c.PerWeek < 0 {
		l.problem(path, what, "histories go back 31 days", "spacing %v, per_day %d, per_week %d", c.Spacing, c.PerDay, c.PerWeek)
	}
	if c.Quiet == "" {
		return out
	}
	var h1, m1, h2, m2 int
	if n, err := fmt.Sscanf(c.Quiet, "%d:%d-%d:%d", &h1, &m1, &h2, &m2); n != 4 || err != nil || max(h1, h2) > 24 || max(m1, m2) > 59 {
		l.problem(path+".quiet", what, "write it as 21:00-08:00", "quiet is %q", c.Quiet)
	}
	out.quietFrom, out.quietTo = h1*60+m1, h2*60+m2
	return out
}

func (l *loader) pack(from *packFile) {
	l.src = from.src
	if from.problem != nil {
		l.add(from.problem)
		return
	}
	f, name := &from.PackFile, l.src.file
	if want := strings.TrimSuffix(strings.TrimPrefix(name, "rules/"), ".yaml"); f.Pack != want {
		l.problem("$.pack", "", "file and pack have one name", "pack is %q in %s", f.Pack, name)
		return
	}
	l.declaration(f)
	l.retention(f)
	k := &pack{decl: f, src: l.src}
	for i := range f.Rules {
		k.rules = append(k.rules, l.rule(fmt.Sprintf("$.rules[%d]", i), f.Pack, &f.Rules[i]))
	}
	l.p.packs[f.Pack] = k
	l.p.order = append(l.p.order, f.Pack)
}

func (l *loader) rule(path, pack string, d *RuleDecl) *rule {
	what := "rule " + d.ID
	if other, taken := l.ids[d.ID]; d.ID == "" || taken {
		l.problem(path, what, "ids are unique over all packs", "id is empty or taken by %s", other)
	}
	l.ids[d.ID] = l.src.file
	if d.Version < 1 || d.Text == "" || d.Source.Document == "" || d.Effective.From.IsZero() {
		l.problem(path, what, "give version (from 1), text, source.document and effective.from", "incomplete")
	}
	if !d.Effective.Until.IsZero() && !d.Effective.Until.After(d.Effective.From.Time) {
		l.problem(path+".effective", what, "until is the first day it no longer holds", "ends before it begins")
	}
	l.oneOf(path, what, "effect", d.Effect, effectNames)
	l.oneOf(path, what, "severity", d.Severity, ruleSeverity)
	if d.AppliesTo == nil {
		d.AppliesTo = []string{Marketing}
	}
	r := &rule{decl: d, pack: pack, when: l.expression(path+".when", what, d.When, "true", cel.BoolType)}
	for _, k := range d.AppliesTo {
		if l.oneOf(path+".applies_to", what, "applies_to", k, []string{Service, Protection, Marketing}) {
			r.kinds |= kindBit(k)
		}
	}
	if r.kinds&bitProtection != 0 && d.Effect != "require-review" {
		l.problem(path+".applies_to", what, "a rule may only ask for a review of protection, never stop it", "effect %s on protection", d.Effect)
	}
	if (d.Effect == "cap") != (d.Cap != nil) {
		l.problem(path, what, "effect cap needs a cap, and only it", "effect is %s", d.Effect)
	}
	if d.Cap != nil {
		l.oneOf(path+".cap", what, "cap.count", d.Cap.Count, countNames)
		if d.Cap.Per > strictyaml.Duration(contactsFor) || (d.Cap.Per == 0 && d.Cap.Count != "bonus") {
			l.problem(path+".cap", what, "at most 31d; only bonuses are counted for ever", "per is %v", d.Cap.Per)
		}
	}
	return r
}

// include puts the included packs' rules before each pack's own.
func (l *loader) include() {
	if l.p.packs[DefaultPack] == nil {
		l.add(&strictyaml.Problem{File: "rules/default.yaml", Detail: "is missing", Remedy: "an unknown jurisdiction needs the strictest rules"})
	}
	own := map[string][]*rule{}
	for name, k := range l.p.packs {
		own[name] = k.rules
	}
	for _, name := range l.p.order {
		k := l.p.packs[name]
		include := k.decl.Include
		if slices.Contains(include, "*") {
			include = l.p.order
		}
		var rules []*rule
		for _, other := range include {
			if _, ok := own[other]; !ok {
				l.src = k.src
				l.add(k.src.problem("$.include", "pack "+name, "", "there is no pack %q", other))
			}
			if other != name {
				rules = append(rules, own[other]...)
			}
		}
		k.rules = append(rules, own[name]...)
	}
}
