package policy

import (
	"fmt"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
)

// expression is a compiled CEL expression.
type expression struct {
	text string
	prg  cel.Program
	// perAction: its value may differ between candidates.
	perAction bool
	names     []string // the variables it reads
}

// compiled is an expression and its type, or the error of compiling it.
type compiled struct {
	expr *expression
	typ  *cel.Type
	err  error
}

// compile checks text against the vocabulary and the wanted type (nil: any of
// string, number or bool). Equal texts share one expression.
func (l *language) compile(text string, want *cel.Type) (*expression, error) {
	once, _ := l.known.LoadOrStore(text, sync.OnceValue(func() compiled { return l.translate(text) }))
	c := once.(func() compiled)()
	if c.err == nil && want != nil && !c.typ.IsExactType(want) {
		return nil, fmt.Errorf("gives %s, want %s", c.typ, want)
	}
	return c.expr, c.err
}

// warm compiles expressions on all cores, because compiling them is most of a start.
// It runs one goroutine a core, not one an expression: CEL's parser needs a large
// stack, which each goroutine has to grow.
func (l *language) warm(texts []string) {
	var work sync.WaitGroup
	var next atomic.Int64
	for range runtime.GOMAXPROCS(0) {
		work.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(texts)); i = next.Add(1) - 1 {
				_, _ = l.compile(texts[i], nil) // the error is cached; the loader reports it
			}
		})
	}
	work.Wait()
}

func (l *language) translate(text string) compiled {
	checked, iss := l.env.Compile(text)
	if iss.Err() != nil {
		if name := l.unknown(text); name != "" {
			return compiled{err: fmt.Errorf("there is no %s", name)}
		}
		return compiled{err: fmt.Errorf("%s", firstLines(iss.Err().Error()))}
	}
	e := &expression{text: text}
	for _, r := range checked.NativeRep().ReferenceMap() {
		if id, ok := l.ids[r.Name]; ok {
			e.names = append(e.names, r.Name)
			e.perAction = e.perAction || l.vars[id].perAction
		}
	}
	prg, err := l.env.Program(checked, cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return compiled{err: err}
	}
	e.prg = prg
	return compiled{expr: e, typ: checked.OutputType()}
}

var dotted = regexp.MustCompile(`\b(player|features|scores|next|consent|action)\.\w+`)

// unknown returns the first name in an expression that the vocabulary lacks. cel-go
// would only report that there is no "player".
func (l *language) unknown(text string) string {
	for _, name := range dotted.FindAllString(text, -1) {
		if _, ok := l.ids[name]; !ok {
			return name
		}
	}
	return ""
}

// firstLines keeps the messages of a cel-go error and drops its excerpts of the source.
func firstLines(s string) string {
	var out []string
	for _, line := range strings.Split(s, "\n") {
		if msg, ok := strings.CutPrefix(line, "ERROR: <input>:"); ok {
			out = append(out, "column "+strings.TrimPrefix(msg, "1:"))
		}
	}
	if out == nil {
		return s
	}
	return strings.Join(out, "; ")
}

// reads reports whether the expression names the variable.
func (e *expression) reads(name string) bool { return slices.Contains(e.names, name) }

// truth is the value of a condition. A condition that reads an unknown value is in
// doubt.
type truth uint8

const (
	no truth = iota
	yes
	doubt
)

func (e *expression) truth(s *scope) truth {
	v, _, err := e.prg.Eval(s)
	if err != nil {
		return doubt
	}
	switch v {
	case ref.Val(types.True):
		return yes
	case ref.Val(types.False):
		return no
	}
	return doubt
}

// number returns the value of a double expression; ok is false if it can't be evaluated.
func (e *expression) number(s *scope) (float64, bool) {
	v, _, err := e.prg.Eval(s)
	if err != nil {
		return 0, false
	}
	d, ok := v.(types.Double)
	return float64(d), ok
}

// plain returns the value as a string, float64, int64 or bool, or nil if it can't be
// evaluated.
func (e *expression) plain(s *scope) any {
	v, _, err := e.prg.Eval(s)
	if err != nil {
		return nil
	}
	return v.Value()
}
