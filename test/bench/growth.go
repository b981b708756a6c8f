package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"pitboss/test/system"
)

// Growth is the cost of an event with N of something.
type Growth struct {
	Of       string  `json:"of"` // players, features, rules, triggers
	N        int     `json:"n"`
	Part     string  `json:"part"`
	CPUUs    float64 `json:"cpu_us_per_event"`
	EventsPS float64 `json:"events_per_s"`
}

// Sizes of the growth measurements.
var (
	growthFeatures = []int{10, 50, 100, 200}
	growthRules    = []int{10, 50, 150, 500}
	growthTriggers = []int{5, 25, 50, 100}
)

// Grow measures profile with more features, decide with more rules, and the
// Broker with more Triggers, each as deployed.
func Grow(ctx context.Context, cfg PathConfig, models string, events int, progress io.Writer) ([]Growth, error) {
	var out []Growth
	say := func(g Growth) {
		fmt.Fprintf(progress, "  %-8s %4d: %s %.1f µs CPU an event, %.0f events/s\n", g.Of, g.N, g.Part, g.CPUUs, g.EventsPS)
		out = append(out, g)
	}
	for _, n := range growthFeatures {
		text, err := features(models, n)
		if err != nil {
			return out, err
		}
		part, err := growFunction(ctx, cfg.Bin, models, "profile", map[string][]byte{"features.yaml": text}, events)
		if err != nil {
			return out, fmt.Errorf("bench: %d features: %w", n, err)
		}
		say(Growth{Of: "features", N: n, Part: "profile", CPUUs: part.CPUUs, EventsPS: part.EventsPS})
	}
	for _, n := range growthRules {
		part, err := growFunction(ctx, cfg.Bin, models, "decide", rules(n), events)
		if err != nil {
			return out, fmt.Errorf("bench: %d rules: %w", n, err)
		}
		say(Growth{Of: "rules", N: n, Part: "decide", CPUUs: part.CPUUs, EventsPS: part.EventsPS})
	}
	cfg.Rates, cfg.Burst, cfg.Play, cfg.Mixed = nil, events, "", false
	for _, n := range growthTriggers {
		cfg.Idle = max(0, n-servedTriggers)
		points, _, err := Path(ctx, cfg, io.Discard)
		if err != nil {
			return out, fmt.Errorf("bench: %d triggers: %w", n, err)
		}
		say(Growth{Of: "triggers", N: n, Part: "broker", CPUUs: points[0].CPUByPart["broker"], EventsPS: points[0].EventsPS})
	}
	return out, nil
}

// servedTriggers is the number of the path's own Triggers: those of profile, score and
// decide, and the consumer's.
const servedTriggers = 5

// growFunction measures one function of the path with some files of the models folder
// replaced. The functions before it use the folder as it is.
func growFunction(ctx context.Context, bin, models, name string, replaced map[string][]byte, events int) (Part, error) {
	dir, err := modelsWith(models, replaced)
	if err != nil {
		return Part{}, err
	}
	defer os.RemoveAll(dir)
	before := pathFunctions[:slices.Index(pathFunctions, name)]
	s, err := system.Run(ctx, system.Config{Bin: bin, Functions: before, Env: []string{"SCORE_WHEN=always"}})
	if err != nil {
		return Part{}, err
	}
	defer s.Stop()
	grown := system.Config{Bin: bin, Functions: []string{name}, Env: []string{"SCORE_WHEN=always", "MODELS_DIR=" + dir}}
	if err := errors.Join(s.Add(grown), s.Ready(ctx)); err != nil {
		return Part{}, fmt.Errorf("%w\n%s", err, s.Said())
	}
	reqs, err := requests(simulated(2000, 0), events+events/4, s.Hosts[pathFunctions[0]])
	if err != nil {
		return Part{}, err
	}
	for i, fn := range before {
		replies, _, err := alone(ctx, s, fn, reqs)
		if err != nil {
			return Part{}, err
		}
		reqs = readdress(replies, s.Hosts[pathFunctions[i+1]])
	}
	if _, _, err := alone(ctx, s, name, reqs[:len(reqs)/5]); err != nil {
		return Part{}, err
	}
	_, part, err := alone(ctx, s, name, reqs[len(reqs)/5:])
	return part, err
}

// modelsWith makes a folder of links to the models folder, with some files replaced. A
// path in a subfolder replaces the whole subfolder.
func modelsWith(from string, replaced map[string][]byte) (dir string, err error) {
	if dir, err = os.MkdirTemp("", "pitboss-models-"); err != nil {
		return "", fmt.Errorf("bench: %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("bench: %w", err)
			os.RemoveAll(dir)
		}
	}()
	for name, text := range replaced {
		if err = os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
			return "", err
		}
		if err = os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			return "", err
		}
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return "", err
	}
	if from, err = filepath.Abs(from); err != nil {
		return "", err
	}
	for _, e := range entries {
		if _, err := os.Lstat(filepath.Join(dir, e.Name())); err == nil {
			continue
		}
		if err = os.Symlink(filepath.Join(from, e.Name()), filepath.Join(dir, e.Name())); err != nil {
			return "", err
		}
	}
	return dir, nil
}

// features returns features.yaml with n features: its own, and copies under other names
// if it has fewer. It leaves out features that refer to others, so that any n of them
// are valid.
func features(models string, n int) ([]byte, error) {
	raw, err := os.ReadFile(filepath.Join(models, "features.yaml"))
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	var file map[string]any
	if err := yaml.Unmarshal(raw, &file); err != nil {
		return nil, fmt.Errorf("bench: features.yaml: %w", err)
	}
	delete(file, "score_when")
	delete(file, "reminders")
	base, err := standalone(file["features"].([]any))
	if err != nil {
		return nil, err
	}
	grown := make([]any, n)
	for i := range grown {
		f := map[string]any{}
		for k, v := range base[i%len(base)] {
			if k != "helper" { // a helper would not count as a feature
				f[k] = v
			}
		}
		if i >= len(base) {
			f["name"] = fmt.Sprintf("%s_copy%d", f["name"], i/len(base))
		}
		grown[i] = f
	}
	file["features"] = grown
	return yaml.Marshal(file)
}

// standalone returns the features whose declarations refer to no other feature.
func standalone(all []any) (out []map[string]any, err error) {
	var names []string
	for _, f := range all {
		names = append(names, f.(map[string]any)["name"].(string))
	}
	named := regexp.MustCompile(`\b(` + strings.Join(names, "|") + `)\b`)
	for _, f := range all {
		f := f.(map[string]any)
		rest := map[string]any{}
		for k, v := range f {
			if k != "name" && k != "doc" {
				rest[k] = v
			}
		}
		text, err := yaml.Marshal(rest)
		if err != nil {
			return nil, fmt.Errorf("bench: features.yaml: %w", err)
		}
		if !named.Match(text) {
			out = append(out, f)
		}
	}
	return out, nil
}

// rules returns one pack, the default, with n rules. Players of every jurisdiction fall
// back to it.
func rules(n int) map[string][]byte {
	var b strings.Builder
	b.WriteString("pack: default\ntitle: Growth\nmin_age: {all: 18}\nproducts: [casino, live, sports, poker, bingo, lottery]\nadvertising: legal\nbonuses: legal\nlicence: not-required\nlanguages: [en]\nreviewed: true\nrules:\n")
	for i := range n {
		fmt.Fprintf(&b, `  - id: GROW-%d
    version: 1
    text: "Stakes above a bound get no bonus."
    source: {document: "Pitboss benchmark", article: "growth", date: 2026-11-22}
    effective: {from: 2020-01-01}
    effect: deny
    severity: policy
    reviewed: true
    applies_to: [marketing, service]
    when: action.bonus && player.age < %d && scores.harm >= 0.9
    tests:
      - {name: a plain message, expect: pass}
      - {name: a bonus, age: 18, scores: {harm: 0.95}, action: {bonus: {wagering: 1, products: [casino]}}, expect: deny}
`, i, 60+i%30)
	}
	return map[string][]byte{"rules/default.yaml": []byte(b.String())}
}
