package strictyaml

import (
	"errors"
	"testing"

	"go.yaml.in/yaml/v3"
)

type file struct {
	Name  string          `yaml:"name"`
	List  []entry         `yaml:"list"`
	Loose map[string]int  `yaml:"loose"`
	Inner inner           `yaml:"inner"`
	Any   map[string]any  `yaml:"any"`
	Flags map[string]bool `yaml:"flags"`
}

type entry struct {
	On []string `yaml:"on"`
}

type inner struct{ size int }

func (i *inner) UnmarshalYAML(n *yaml.Node) error {
	if err := Fields(n, "size"); err != nil {
		return err
	}
	return n.Content[1].Decode(&i.size)
}

// Every mistake is refused with its line.
func TestMistakesHaveLines(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, src string
		line      int
		detail    string
	}{
		{"unknown field", "name: a\nnmae: b\n", 2, "unknown field nmae"},
		{"unknown field of an entry", "list:\n  - on: [x]\n    no: 1\n", 3, "unknown field no"},
		{"unknown field below a method", "inner:\n  sise: 3\n", 2, "unknown field sise"},
		{"repeated field", "name: a\nname: b\n", 2, `mapping key "name" already defined at line 1`},
		{"wrong type", "name: a\nlist: 5\n", 2, "cannot unmarshal !!int `5` into []strictyaml.entry"},
		{"syntax", "name: [a\nlist: b\n", 1, "did not find expected ',' or ']'"},
		{"two documents", "name: a\n---\nname: b\n", 0, "holds more than one document"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var e *Error
			if err := Decode([]byte(c.src), &file{}); !errors.As(err, &e) || e.Line != c.line || e.Detail != c.detail {
				t.Errorf("got %#v, want line %d: %s", err, c.line, c.detail)
			}
		})
	}
}

// Words that older YAML takes for truths are words.
func TestWordsStayWords(t *testing.T) {
	t.Parallel()
	var f file
	if err := Decode([]byte("name: no\nlist:\n- on: [off, y]\nany: {on: yes}\n"), &f); err != nil {
		t.Fatal(err)
	}
	if f.Name != "no" || f.List[0].On[0] != "off" || f.List[0].On[1] != "y" || f.Any["on"] != "yes" {
		t.Errorf("%+v", f)
	}
}

func TestLine(t *testing.T) {
	t.Parallel()
	src := []byte("a: 1\nlist:\n  - name: x\n    when: y\n  - name: z\n")
	for path, want := range map[string]int{
		"$": 1, "$.a": 1, "$.list": 2, "$.list[0]": 3, "$.list[0].when": 4, "$.list[1].name": 5, "$.list[2]": 0, "$.b": 0,
	} {
		if got := Line(src, path); got != want {
			t.Errorf("%s: line %d, want %d", path, got, want)
		}
	}
	if got := Line(src, "$.list[1].when", "$.list[1]"); got != 5 {
		t.Errorf("the parent's line is %d, want 5", got)
	}
	if got := Line([]byte("a: ["), "$.a"); got != 0 {
		t.Errorf("a broken file: line %d", got)
	}
}
