package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"pitboss/internal/event"
	"pitboss/internal/learn"
)

// Policy is actions.yaml, markers.yaml and the rule packs, compiled. It is immutable and
// safe for concurrent use.
type Policy struct {
	lang    *language
	file    ActionFile
	actions []*action
	packs   map[string]*pack // by name
	order   []string         // of packs, sorted
	hash    string
	learned *learn.Model // by which the learned arms choose; nil: by the values
	shadow  *learn.Model // whose choices are recorded without effect; nil: none
	files   map[string][]byte
	quietOf map[string]contact // the common contact policies by kind, compiled
	signs   MarkerFile
	markers []*marker
}

// pack is a jurisdiction's rules. Included rules come first.
type pack struct {
	decl  *PackFile
	src   *source
	rules []*rule
}

// rule is a compiled rule.
type rule struct {
	decl  *RuleDecl
	pack  string
	kinds uint8 // bits of kindBit
	when  *expression
}

// action is a compiled action.
type action struct {
	decl     *ActionDecl
	code     uint32
	kind     uint8
	eligible *expression
	value    *expression
	params   []param
	contact  contact
	deposit  bool
	play     bool
}

// newAction returns an action without what [loader.action] compiles.
func newAction(d *ActionDecl) *action {
	return &action{decl: d, code: ActionCode(d.ID), kind: kindBit(d.Kind),
		deposit: slices.Contains(d.Prompts, "deposit"), play: slices.Contains(d.Prompts, "play")}
}

// blocked says that a rule stops the action.
func (a *action) blocked(rule, format string, args ...any) event.Blocked {
	return event.Blocked{Action: a.decl.ID, Rule: rule, Text: fmt.Sprintf(format, args...)}
}

type param struct {
	name string
	expr *expression
}

// contact is a compiled contact policy.
type contact struct {
	Contact
	quietFrom, quietTo int // minutes of the day; equal: no quiet hours
	quietOn            []string
}

const (
	bitService uint8 = 1 << iota
	bitProtection
	bitMarketing
)

func kindBit(kind string) uint8 {
	switch kind {
	case Service:
		return bitService
	case Protection:
		return bitProtection
	case Marketing:
		return bitMarketing
	}
	return 0
}

var noBonus Bonus

func (a *action) bonus() *Bonus {
	if a.decl.Bonus == nil {
		return &noBonus
	}
	return a.decl.Bonus
}

// products counts the distinct products that must be played to get a bonus or to use it.
func (b *Bonus) products() int64 {
	n := int64(len(b.Products))
	for i, q := range b.QualifiesOn {
		if !slices.Contains(b.Products, q) && !slices.Contains(b.QualifiesOn[:i], q) {
			n++
		}
	}
	return n
}

// DefaultPack applies where a player's jurisdiction is unknown.
const DefaultPack = "default"

// Load reads dir/actions.yaml and dir/rules/*.yaml and compiles them against
// the features that a feature set declares. The error is a [strictyaml.Problems]: every
// mistake with its file, line and remedy.
func Load(dir string, features []string) (*Policy, error) {
	f, err := Read(dir)
	if err != nil {
		return nil, err
	}
	return f.Compile(features)
}

// Files are a policy's files, read and decoded, not yet compiled.
type Files struct {
	loader *loader
	packs  []*packFile
}

// Read reads dir/actions.yaml, dir/markers.yaml and dir/rules/*.yaml.
// [Files.Compile] reports the mistakes in them.
func Read(dir string) (*Files, error) {
	files := map[string][]byte{}
	names, err := filepath.Glob(filepath.Join(dir, "rules", "*.yaml"))
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	for _, name := range append(names, filepath.Join(dir, "actions.yaml"), filepath.Join(dir, markersName)) {
		b, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) && filepath.Base(name) == markersName {
			continue // Compile reports it with the other mistakes
		}
		if err != nil {
			return nil, fmt.Errorf("policy: %w", err)
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return nil, fmt.Errorf("policy: %w", err)
		}
		files[filepath.ToSlash(rel)] = b
	}
	return decodeFiles(files, false), nil
}

// Parse compiles policy files by name: actions.yaml and rules/<pack>.yaml.
func Parse(files map[string][]byte, features []string) (*Policy, error) {
	return decodeFiles(files, false).Compile(features)
}

func decodeFiles(files map[string][]byte, legacy bool) *Files {
	l := &loader{legacy: legacy, ids: map[string]string{}, p: &Policy{packs: map[string]*pack{}, quietOf: map[string]contact{}, files: files}}
	return &Files{l, l.read()}
}

// Texts returns the files' contents by name.
func (f *Files) Texts() map[string][]byte { return f.loader.p.files }

// Hash returns the [Policy.Hash] of the files, whether or not they compile.
func (f *Files) Hash(features []string) string { return hashFiles(f.loader.p.files, features) }

// Compile compiles the files, once, against the features that a feature set
// declares. The error is a [strictyaml.Problems].
func (f *Files) Compile(features []string) (*Policy, error) {
	lang, err := newLanguage(features)
	if err != nil {
		return nil, err
	}
	l := f.loader
	l.p.lang = lang
	lang.warm(l.texts(f.packs))
	l.actions()
	l.markers()
	for _, p := range f.packs {
		l.pack(p)
	}
	l.include()
	if len(l.problems) > 0 {
		return nil, fmt.Errorf("policy: %w", l.problems)
	}
	l.p.hash = hashFiles(l.p.files, features)
	return l.p, nil
}

// hashFiles identifies a policy: policies with equal hashes decide equally.
func hashFiles(files map[string][]byte, features []string) string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(h, "%s %d\n", name, len(files[name]))
		h.Write(files[name])
	}
	fmt.Fprintln(h, strings.Join(features, " "))
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// Hash identifies the policy: its files and the features that they may use.
func (p *Policy) Hash() string { return p.hash }

// Files returns the contents of the files that the policy was compiled from, by name.
func (p *Policy) Files() map[string][]byte { return p.files }

// FeatureNames lists the features in the order of [Input.Features].
func (p *Policy) FeatureNames() []string { return p.lang.featureNames }

// Packs lists the packs by name.
func (p *Policy) Packs() []string { return p.order }

// Pack returns a pack as it was declared.
func (p *Policy) Pack(name string) (*PackFile, bool) {
	k, ok := p.packs[name]
	if !ok {
		return nil, false
	}
	return k.decl, true
}

// Applied is a rule that holds in a jurisdiction, and the pack that declares it.
type Applied struct {
	Pack string
	Rule *RuleDecl
}

// RulesOf lists the rules that hold for players of a jurisdiction at a time: those of
// its pack, or of the default pack if it has none.
func (p *Policy) RulesOf(jurisdiction string, at time.Time) (pack string, rules []Applied) {
	k := p.packOf(jurisdiction)
	for _, r := range k.rules {
		if r.decl.Effective.at(at) {
			rules = append(rules, Applied{r.pack, r.decl})
		}
	}
	return k.decl.Pack, rules
}

// Rule finds a rule by id.
func (p *Policy) Rule(id string) (Applied, bool) {
	for _, name := range p.order {
		for i := range p.packs[name].decl.Rules {
			if r := &p.packs[name].decl.Rules[i]; r.ID == id {
				return Applied{name, r}, true
			}
		}
	}
	return Applied{}, false
}

// Actions lists the actions as they were declared.
func (p *Policy) Actions() []ActionDecl { return p.file.Actions }

// action returns the declaration of an action. One that is not declared is empty.
func (p *Policy) action(id string) *ActionDecl {
	for _, a := range p.actions {
		if a.decl.ID == id {
			return a.decl
		}
	}
	return &ActionDecl{}
}

// IsBonus reports whether the action comes with a bonus.
func (p *Policy) IsBonus(id string) bool { return p.action(id).Bonus != nil }

// With returns a copy of the policy whose learned arms choose by m.
func (p *Policy) With(m *learn.Model) *Policy {
	with := *p
	with.learned = m
	return &with
}

// Learned returns the snapshot by which the learned arms choose, or nil.
func (p *Policy) Learned() *learn.Model { return p.learned }

// WithShadow returns a copy of the policy that records with each decision what m would
// have chosen.
func (p *Policy) WithShadow(m *learn.Model) *Policy {
	with := *p
	with.shadow = m
	return &with
}

// Shadow returns the snapshot whose choices are recorded without effect, or nil.
func (p *Policy) Shadow() *learn.Model { return p.shadow }

// LearnedHash returns the hash of [Policy.Learned], or "".
func (p *Policy) LearnedHash() string {
	if p.learned == nil {
		return ""
	}
	return p.learned.Hash
}

// packOf returns the pack of a jurisdiction, or the default pack. A subdivision
// without a pack (CA-QC) does not get its country's, which may not hold there.
func (p *Policy) packOf(jurisdiction string) *pack {
	if k, ok := p.packs[jurisdiction]; ok && !k.decl.Shared {
		return k
	}
	return p.packs[DefaultPack]
}
