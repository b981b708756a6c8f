package feature_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"pitboss/internal/feature"
	"pitboss/internal/strictyaml"
)

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Every mistake is refused at load, with the line, the feature and what to do.
func TestMistakesNameLineAndFeatureAndSayWhatToDo(t *testing.T) {
	t.Parallel()
	head := "version: 1\nfeatures:\n  - name: ok\n    on: [round.settled]\n    agg: count\n"
	for _, tc := range []struct {
		name, text string
		line       int
		want       string
	}{
		{"no version", "features: []\n", 0, "version must be 1"},
		{"nothing declared", "version: 1\n", 0, "at least one feature"},
		{"not YAML", "version: [1\n", 1, ""},
		{"unknown member", head + "    wehre: data.stake > 1\n", 6, "wehre"},
		{"unknown event type", head + "  - name: x\n    on: [round.won]\n    agg: count\n", 7, "there are round.rolledback, round.settled"},
		{"outgoing event type", head + "  - name: x\n    on: [recommendation.issued]\n    agg: count\n", 7, "never reaches"},
		{"unknown field", head + "  - name: x\n    on: [round.settled]\n    agg: sum\n    value: data.stakes\n", 9, "known here: data.bonus_stake"},
		{"where is no condition", head + "  - name: x\n    on: [round.settled]\n    agg: count\n    where: data.stake\n", 9, "but bool is needed"},
		{"value is text", head + "  - name: x\n    on: [round.settled]\n    agg: sum\n    value: data.game\n", 9, "int or double or bool is needed"},
		{"syntax of CEL", head + "  - name: x\n    on: [round.settled]\n    agg: count\n    where: data.stake >\n", 9, "column"},
		{"int and double", head + "  - name: x\n    expr: ok / 2\n", 7, "write 2.0 rather than 2"},
		{"unknown agg", head + "  - name: x\n    on: [round.settled]\n    agg: median\n", 8, "there are count"},
		{"no such horizon", head + "  - name: x\n    on: [round.settled]\n    agg: since\n    horizon: {decay: {half_life: 1m}}\n", 9, "it can have lifetime"},
		{"two horizons", head + "  - name: x\n    on: [round.settled]\n    agg: count\n    horizon: {decay: {half_life: 1m}, session: {gap: 1m}}\n", 0, "exactly one"},
		{"bad duration", head + "  - name: x\n    on: [round.settled]\n    agg: count\n    horizon: {decay: {half_life: soon}}\n", 0, "write 90s"},
		{"no value", head + "  - name: x\n    on: [round.settled]\n    agg: sum\n", 0, "needs a value"},
		{"a value too many", head + "  - name: x\n    on: [round.settled]\n    agg: since\n    value: data.stake\n", 9, "takes no value"},
		{"ratio without of", head + "  - name: x\n    on: [round.settled]\n    agg: ratio\n    value: data.stake\n", 0, "denominator"},
		{"uneven buckets", head + "  - name: x\n    on: [round.settled]\n    agg: count\n    horizon: {window: {size: 1s, buckets: 7}}\n", 9, "whole milliseconds"},
		{"declared twice", head + "  - name: ok\n    on: [round.settled]\n    agg: count\n", 6, "declared twice"},
		{"bad name", head + "  - name: Rounds\n    on: [round.settled]\n    agg: count\n", 6, "lower-case"},
		{"reserved name", head + "  - name: data\n    on: [round.settled]\n    agg: count\n", 6, "reserved"},
		{"expr and agg", head + "  - name: x\n    expr: ok\n    agg: count\n", 7, "computed from other features"},
		{"a circle", head + "  - name: x\n    expr: y\n  - name: y\n    expr: x\n", 7, "x → y → x"},
		{"reminder of nothing", head + "reminders:\n  - name: r\n    after: 90s\n", 7, "set_when"},
		{"no such reminder", head + "score_when:\n  - name: c\n    reminder: r\n", 8, "there is no reminder"},
		{"condition over nothing", head + "score_when:\n  - name: c\n    when: ok > 1\n", 7, "needs at least one event type"},
		{"condition without features", head + "score_when:\n  - name: c\n    on: [round.settled]\n    when: nope > 1\n", 9, "known here"},
		{"rollback below lateness", strings.Replace(head, "features:", "rollback: 1m\nfeatures:", 1), 2, "between lateness"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := feature.Parse("features.yaml", []byte(tc.text))
			var p *strictyaml.Problem
			if !errors.As(err, &p) {
				t.Fatalf("error is %v, want a Problem", err)
			}
			if !strings.Contains(p.Error(), tc.want) || !strings.HasPrefix(p.Error(), "features.yaml") {
				t.Errorf("error %q, want %q", p, tc.want)
			}
			if tc.line > 0 && p.Line != tc.line {
				t.Errorf("line %d, want %d: %v", p.Line, tc.line, p)
			}
		})
	}
}

func TestLabelMistakes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"version: 1\n": "at least one label",
		"version: 1\nlabels: [{name: a, on: [round.settled], agg: none}]\n":                                                   "how far ahead",
		"version: 1\nlabels: [{name: a, on: [round.settled], agg: max, within: 1m}]\n":                                        "none, any, count",
		"version: 1\nlabels: [{name: a, on: [round.settled], agg: sum, within: 1m}]\n":                                        "need a value",
		"version: 1\nlabels: [{name: a, on: [round.settled], agg: sum, value: data.game, within: 1m}]\n":                      "is needed",
		"version: 1\nlabels: [{name: a, on: [round.settled, payment.deposited], agg: first, value: data.game, within: 1m}]\n": "undeclared",
	} {
		if _, err := feature.ParseLabels("labels.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", text, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(exact))
	f.Add([]byte("version: 1\nfeatures:\n  - {name: a, on: [round.settled], agg: sum, value: \"1 % 0\"}\n"))
	f.Add([]byte("version: 1\nfeatures: *a\n"))
	f.Add([]byte("- &a [*a]"))
	f.Fuzz(func(t *testing.T, src []byte) {
		if s, err := feature.Parse("f.yaml", src); err == nil {
			played(t, s, 3, 1e9) // whatever parses also folds
		}
		_, _ = feature.ParseLabels("l.yaml", src)
	})
}
