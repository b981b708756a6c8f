package feature

import (
	"fmt"
	"os"
	"sync"
	"time"

	"pitboss/internal/event"
	"pitboss/internal/strictyaml"
)

// LabelFile is the content of labels.yaml: the labels that models are trained to predict.
type LabelFile struct {
	Version int                `yaml:"version"`
	Labels  []LabelDeclaration `yaml:"labels"`
}

// LabelDeclaration is one label as it stands in the file. It looks at the
// player's events after the decision point, up to Within later.
type LabelDeclaration struct {
	Name   string              `yaml:"name"`
	Doc    string              `yaml:"doc"`
	On     []string            `yaml:"on"`
	Where  string              `yaml:"where"`
	Value  string              `yaml:"value"`
	Agg    Agg                 `yaml:"agg"` // none, any, count, sum or first
	Within strictyaml.Duration `yaml:"within"`
	// Score is the score that predicts the label and is calibrated by it in production
	// (docs/learning.md). Empty: the label is only for training.
	Score string `yaml:"score,omitempty"`
}

// The aggregations of labels besides Count and Sum: none is 1 if no such event comes,
// any is 1 if one comes, first is the value of the first one.
const (
	LabelNone  Agg = "none"
	LabelAny   Agg = "any"
	LabelFirst Agg = "first"
)

// Label is a compiled label.
type Label struct {
	LabelDeclaration
	// Text says that the value is a string (first of a string expression).
	Text bool

	draws map[string]labelDraw
}

type labelDraw struct{ where, value *program }

var labelScopes = sync.Pool{New: func() any { return new(scope) }}

// Drawn is the value of one event for a label.
type Drawn struct {
	Number float64
	Text   string
}

// LoadLabels reads and compiles the file at path.
func LoadLabels(path string) ([]*Label, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("feature: %w", err)
	}
	return ParseLabels(path, b)
}

// ParseLabels compiles labels; file is their name in error messages. Every
// error is a [*strictyaml.Problem].
func ParseLabels(file string, src []byte) (out []*Label, err error) {
	var f LabelFile
	if err := strictyaml.Decode(src, &f); err != nil {
		return nil, strictyaml.AsProblems(file, err)[0]
	}
	b := &builder{file: file, src: src}
	if f.Version != fileVersion {
		return nil, b.fault("$.version", "", "version must be %d, is %d", fileVersion, f.Version)
	}
	seen := map[string]bool{}
	for i, d := range f.Labels {
		l, err := b.label(d, fmt.Sprintf("$.labels[%d]", i), seen)
		if err != nil {
			return nil, err
		}
		out = append(out, l)
	}
	if out == nil {
		return nil, b.fault("$.labels", "", "declare at least one label")
	}
	return out, nil
}

func (b *builder) label(d LabelDeclaration, path string, seen map[string]bool) (*Label, error) {
	within := "label " + d.Name
	if err := b.checkName(path, "label", d.Name, seen); err != nil {
		return nil, err
	}
	takes := d.Agg == Sum || d.Agg == LabelFirst
	switch {
	case d.Agg != LabelNone && d.Agg != LabelAny && d.Agg != Count && !takes:
		return nil, b.fault(path+".agg", within, "agg %q is unknown; labels have none, any, count, sum and first", d.Agg)
	case takes != (d.Value != ""):
		return nil, b.fault(path+".value", within, "sum and first need a value, the others take none")
	case d.Within.Milliseconds() < 1000:
		return nil, b.fault(path+".within", within, "within must be at least 1s: how far ahead the label looks")
	case d.Score == "harm": // the score protects players: calibration must never lower it
		return nil, b.fault(path+".score", within, "harm is not calibrated by what players do")
	case d.Score != "" && takes || d.Score != "" && d.Agg == Count:
		return nil, b.fault(path+".score", within, "only a label of agg none or any can have a score, not %s", d.Agg)
	}
	infos, err := b.types(path+".on", within, d.On)
	if err != nil {
		return nil, err
	}
	l := &Label{LabelDeclaration: d, draws: map[string]labelDraw{}}
	want := []kind{kindInt, kindFloat, kindBool}
	if d.Agg == LabelFirst {
		want = append(want, kindString)
	}
	for i, info := range infos {
		var draw labelDraw
		lang, err := b.language(info, nil)
		if err != nil {
			return nil, err
		}
		if d.Where != "" {
			if draw.where, err = lang.compile(d.Where, kindBool); err != nil {
				return nil, b.fault(path+".where", within+": where", "%v", err)
			}
		}
		if d.Value != "" {
			if draw.value, err = lang.compile(d.Value, want...); err != nil {
				return nil, b.fault(path+".value", within+": value", "%v", err)
			}
			text := draw.value.code.kind == kindString
			if i > 0 && text != l.Text {
				return nil, b.fault(path+".value", within+": value", "is a string for some event types and a number for others")
			}
			l.Text = text
		}
		l.draws[info.Type] = draw
	}
	return l, nil
}

// Draw returns the event's value for the label; ok is false if the label does not
// count the event.
func (l *Label) Draw(r *event.Record) (v Drawn, ok bool) {
	draw, ok := l.draws[r.Type]
	if !ok {
		return v, false
	}
	v.Number = 1
	if draw.where == nil && draw.value == nil {
		return v, true
	}
	sc := labelScopes.Get().(*scope)
	defer labelScopes.Put(sc)
	*sc = scope{data: r.Data, typ: r.Type, src: r.Source, id: r.ID, time: r.Time}
	if draw.where != nil {
		if yes, ok := draw.where.number(sc); !ok || yes == 0 {
			return v, false
		}
	}
	if draw.value == nil {
		return v, true
	}
	if l.Text {
		v.Text = draw.value.code.s(sc)
		return v, !sc.failed
	}
	n, ok := draw.value.number(sc)
	v.Number = n.number(draw.value.code.kind == kindFloat)
	return v, ok
}

// Ahead returns how long after a decision point the label looks at events.
func (l *Label) Ahead() time.Duration { return time.Duration(l.Within) }
