package console

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"pitboss/internal/access"
	"pitboss/internal/journal"
	"pitboss/internal/model"
	"pitboss/internal/policy"
)

// pack is a rule pack as the page shows it. It leaves out what decide compiles
// (expressions, tests), so unknown members are no error.
type pack struct {
	Pack string `yaml:"pack" json:"pack"`
	// What the pack declares about its place.
	MinAge      map[string]int `yaml:"min_age" json:"min_age,omitempty"`
	Products    []string       `yaml:"products" json:"products,omitempty"`
	Advertising string         `yaml:"advertising" json:"advertising,omitempty"`
	Bonuses     string         `yaml:"bonuses" json:"bonuses,omitempty"`
	Licence     string         `yaml:"licence" json:"licence,omitempty"`
	Languages   []string       `yaml:"languages" json:"languages,omitempty"`
	Reviewed    bool           `yaml:"reviewed" json:"reviewed"`

	Title   string   `yaml:"title" json:"title"`
	Shared  bool     `yaml:"shared" json:"shared"`
	Include []string `yaml:"include" json:"include"`
	Rules   []rule   `yaml:"rules" json:"rules"`
}

type rule struct {
	ID      string `yaml:"id" json:"id"`
	Version int    `yaml:"version" json:"version"`
	Text    string `yaml:"text" json:"text"`
	Source  struct {
		Document string `yaml:"document" json:"document"`
		Article  string `yaml:"article" json:"article"`
		Date     string `yaml:"date" json:"date"`
	} `yaml:"source" json:"source"`
	Effective struct {
		From  string `yaml:"from" json:"from"`
		Until string `yaml:"until" json:"until"`
	} `yaml:"effective" json:"effective"`
	Effect    string   `yaml:"effect" json:"effect"`
	Severity  string   `yaml:"severity" json:"severity"`
	Reviewed  bool     `yaml:"reviewed" json:"reviewed"`
	AppliesTo []string `yaml:"applies_to" json:"applies_to"`
	When      string   `yaml:"when" json:"when"`
	Blocked   int64    `yaml:"-" json:"blocked"` // suppressions since the console started
}

// source names the rule's source in one line.
func (r *rule) source() string {
	parts := []string{}
	for _, p := range []string{r.Source.Document, r.Source.Article, r.Source.Date} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, ", ")
}

// texts returns the files of the policy in force by name, without compiling them. If
// they are not those of the deploy, it also returns the approved change.
func (f *Function) texts(ctx context.Context) (map[string][]byte, *journal.InForce, error) {
	files, err := policy.Read(f.cfg.ModelsDir)
	if err != nil {
		return nil, nil, err
	}
	if f.store.journal == nil || f.store.set == nil {
		return files.Texts(), nil, nil
	}
	since, err := f.store.journal.InForce(ctx, files.Hash(f.store.set.Names()))
	if since == nil || err != nil {
		return files.Texts(), nil, err
	}
	doc, err := f.store.journal.Document(ctx, since.Policy)
	if err != nil {
		return nil, nil, err
	}
	texts, err := policy.DocumentFiles(doc)
	return texts, since, err
}

func readPacks(files map[string][]byte) (packs []pack, problems []string) {
	packs = []pack{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if !strings.HasPrefix(name, "rules/") {
			continue
		}
		var p pack
		if err := yaml.Unmarshal(files[name], &p); err != nil {
			problems = append(problems, path.Base(name)+": "+err.Error())
			continue
		}
		if p.Pack != "" {
			packs = append(packs, p)
		}
	}
	return packs, problems
}

// actionView is an entry of actions.yaml, for kill switches and filters.
type actionView struct {
	ID      string   `yaml:"id" json:"id"`
	Doc     string   `yaml:"doc" json:"doc"`
	Kind    string   `yaml:"kind" json:"kind"`
	Message string   `yaml:"message" json:"message"`
	Channel []string `yaml:"channels" json:"channels"`
}

func readActions(files map[string][]byte) []actionView {
	var file struct {
		Actions []actionView `yaml:"actions"`
	}
	_ = yaml.Unmarshal(files["actions.yaml"], &file) // decide refuses a broken file; the page shows no action then
	if file.Actions == nil {
		return []actionView{}
	}
	return file.Actions
}

// listRules answers with the texts of every pack in force, and the kill switches.
func (f *Function) listRules(w http.ResponseWriter, r *http.Request) (any, error) {
	files, since, wrong := f.texts(r.Context())
	packs, problems := readPacks(files)
	if wrong != nil {
		problems = append(problems, wrong.Error())
	}
	blocked := f.flow.blocked()
	for i := range packs {
		for j := range packs[i].Rules {
			packs[i].Rules[j].Blocked = blocked[packs[i].Rules[j].ID]
		}
	}
	on, err := f.switches(r.Context())
	out := map[string]any{"packs": packs, "problems": problems, "actions": readActions(files), "since": since, "switches": on,
		"disclaimer": "Not legal advice. A lawyer must review a pack before it decides about real players; rules marked unreviewed were never read against their source."}
	if err != nil {
		out["switch_error"] = err.Error()
	}
	return out, nil
}

func (f *flow) blocked() map[string]int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make(map[string]int64, len(f.rules))
	for id, r := range f.rules {
		out[id] = r.n
	}
	return out
}

// killSwitch is a kill switch that is on.
type killSwitch struct {
	What string    `json:"what"` // jurisdiction | action | model | rule
	Name string    `json:"name"`
	Who  string    `json:"who"`
	Note string    `json:"note"`
	At   time.Time `json:"at"`
}

// turning is the body of a request to turn a kill switch.
type turning struct {
	What string `json:"what"`
	Name string `json:"name"`
	On   bool   `json:"on"`
	Note string `json:"note"`
}

// turnSwitch turns a kill switch on, or proposes to turn it off.
func (f *Function) turnSwitch(w http.ResponseWriter, r *http.Request, in turning) (any, error) {
	known := map[string]bool{"jurisdiction": true, "action": true, "model": true, "rule": true}
	if !known[in.What] || in.Name == "" || len(in.Name) > 128 || in.Note == "" {
		return nil, bad("what is jurisdiction, action, model or rule; name it, and the note says why")
	}
	if in.On && !f.switchable(r.Context(), in.What, in.Name) {
		return nil, bad("name: there is no " + in.What + " " + in.Name + ", so the switch would stop nothing")
	}
	if p := personOf(r); !p.Everywhere(access.Compliance) && !(in.What == "jurisdiction" && p.MayAt(access.Compliance, in.Name, "")) {
		return nil, fmt.Errorf("%w: the switch acts everywhere, and %s has %s", errNotAllowed, p.Name, p.Key())
	}
	if f.store.journal == nil {
		return nil, errNoStore
	}
	if on, err := f.switches(r.Context()); err == nil && !in.On && !slices.ContainsFunc(on, func(s killSwitch) bool { return s.What == in.What && s.Name == in.Name }) {
		return nil, bad("name: the switch of " + in.What + " " + in.Name + " is not on")
	}
	change := journal.SwitchChange{Switch: in.What + "/" + in.Name, On: in.On, By: personOf(r).Name, Reason: in.Note, At: f.now().UTC()}
	if !in.On { // stopping takes one person, letting go takes two
		return f.propose(w, r, journal.ProposeSwitchOff, change.Switch, in.Note, nil)
	}
	if err := f.store.journal.Turn(r.Context(), change); err != nil {
		return nil, err
	}
	f.tellTurned(r.Context(), change)
	on, err := f.switches(r.Context())
	return map[string]any{"switches": on}, err
}

// switchable reports whether the files have the name. A switch with a typo would look
// like one that works. Any switch can be turned off.
func (f *Function) switchable(ctx context.Context, what, name string) bool {
	files, _, _ := f.texts(ctx) // files that can't be read have no names
	switch what {
	case "action":
		return slices.ContainsFunc(readActions(files), func(a actionView) bool { return a.ID == name })
	case "model":
		serving, err := model.ReadServing(f.servingFile())
		_, ok := serving[name]
		return err == nil && (ok || name == policy.LearnedModel || name == policy.CalibrationModel)
	}
	packs, _ := readPacks(files)
	return slices.ContainsFunc(packs, func(p pack) bool {
		if what == "jurisdiction" {
			return p.Pack == name && !p.Shared
		}
		return slices.ContainsFunc(p.Rules, func(r rule) bool { return r.ID == name })
	})
}

func (f *Function) switches(ctx context.Context) ([]killSwitch, error) {
	out := []killSwitch{}
	if f.store.journal == nil {
		return out, nil
	}
	on, err := f.store.journal.Switches(ctx)
	for _, s := range on {
		what, name, _ := strings.Cut(s.Switch, "/")
		out = append(out, killSwitch{what, name, s.By, s.Reason, s.At})
	}
	return out, err
}
