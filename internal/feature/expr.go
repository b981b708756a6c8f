package feature

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
)

// kind is the type of an expression's value.
type kind uint8

const (
	kindOther kind = iota
	kindInt
	kindFloat
	kindBool
	kindString
	kindTime
)

func (k kind) String() string {
	return [...]string{"value", "int", "double", "bool", "string", "timestamp"}[k]
}

// code is a compiled expression. Only the function of its kind is set. An evaluation
// that fails (division by zero, overflow) sets scope.failed.
type code struct {
	kind kind
	i    func(*scope) int64
	f    func(*scope) float64
	b    func(*scope) bool
	s    func(*scope) string
	t    func(*scope) time.Time
}

// program is one expression, type-checked and compiled.
type program struct {
	text string
	code code
	// needs lists the indices of the features that the expression uses.
	needs []int
}

// value is a number drawn from an event: an int64, or the bits of a float64
// where the program is of kind double.
type value int64

func floatValue(f float64) value { return value(math.Float64bits(f)) }
func (v value) float() float64   { return math.Float64frombits(uint64(v)) }
func (v value) number(f bool) float64 {
	if f {
		return v.float()
	}
	return float64(v)
}

// scope holds the values that expressions read: one event, or the features of a state.
type scope struct {
	set  *Set
	st   *State
	plan *plan
	data any
	typ  string
	src  string
	id   string
	time time.Time
	asOf int64
	// vals caches the values of features. vals[i] is valid if have[i] == stamp.
	vals  []float64
	have  []uint32
	stamp uint32
	// results caches the results of the plan's programs for this event.
	results []result
	growing growing
	failed  bool
}

type result struct {
	v    value
	done bool
	ok   bool
}

// eval runs program n of the plan, once per event.
func (sc *scope) eval(n int) (value, bool) {
	r := &sc.results[n]
	if !r.done {
		r.v, r.ok = sc.plan.programs[n].number(sc)
		r.done = true
	}
	return r.v, r.ok
}

// holds reports whether condition n is true. One that fails is not. -1 stands for no
// condition, which holds.
func (sc *scope) holds(n int) bool {
	if n < 0 {
		return true
	}
	v, ok := sc.eval(n)
	return ok && v != 0
}

// number runs p and turns its value into a number: a bool into 0 or 1, a string into
// its hash, a time into milliseconds.
func (p *program) number(sc *scope) (v value, ok bool) {
	sc.failed = false
	switch p.code.kind {
	case kindInt:
		v = value(p.code.i(sc))
	case kindFloat:
		f := p.code.f(sc)
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return 0, false
		}
		v = floatValue(f)
	case kindBool:
		if p.code.b(sc) {
			v = 1
		}
	case kindString:
		v = value(uint32(xxhash.Sum64String(p.code.s(sc))))
	case kindTime:
		v = value(p.code.t(sc).UnixMilli())
	}
	return v, !sc.failed
}

// as returns a value of p in the form that a slot or an input stores.
func (p *program) as(float bool, v value) value {
	if float && p.code.kind != kindFloat {
		return floatValue(float64(v))
	}
	return v
}

var celTypes = map[kind]*cel.Type{
	kindInt: cel.IntType, kindFloat: cel.DoubleType, kindBool: cel.BoolType,
	kindString: cel.StringType, kindTime: cel.TimestampType,
}

// language is CEL with the variables of one kind of expression. It takes about a
// millisecond to create, so builders keep it.
type language struct {
	env  *cel.Env
	vars map[string]variable
}

func newLanguage(vars ...[]variable) (*language, error) {
	l := &language{vars: map[string]variable{}}
	opts := []cel.EnvOption{cel.CrossTypeNumericComparisons(true)}
	for _, list := range vars {
		for _, v := range list {
			opts = append(opts, cel.Variable(v.name, celTypes[v.code.kind]))
			l.vars[v.name] = v
		}
	}
	var err error
	if l.env, err = cel.NewEnv(opts...); err != nil {
		return nil, fmt.Errorf("CEL environment: %w", err)
	}
	return l, nil
}

// compile type-checks text and compiles it. want lists the kinds that the result may
// have.
func (l *language) compile(text string, want ...kind) (*program, error) {
	ast, issues := l.env.Compile(text)
	if issues.Err() != nil {
		return nil, l.explain(text, issues)
	}
	p := &program{text: text}
	out := kindOf(ast.OutputType())
	if !slices.Contains(want, out) {
		return nil, fmt.Errorf("%s is of type %s, but %s is needed", text, ast.OutputType(), listKinds(want))
	}
	tr := translator{vars: l.vars, ast: ast.NativeRep(), needs: map[int]bool{}}
	var direct bool
	var err error
	if p.code, direct = tr.translate(tr.ast.Expr()); !direct {
		if p.code, err = l.interpreted(ast, out); err != nil {
			return nil, err
		}
		tr.all(tr.ast.Expr())
	}
	p.needs = slices.Sorted(maps.Keys(tr.needs))
	return p, nil
}

func listKinds(want []kind) string {
	var s []string
	for _, k := range want {
		s = append(s, k.String())
	}
	return strings.Join(s, " or ")
}

func kindOf(t *types.Type) kind {
	for k, ct := range celTypes {
		if t.IsExactType(ct) {
			return k
		}
	}
	return kindOther
}

// explain adds to CEL's message what to write instead.
func (l *language) explain(text string, issues *cel.Issues) error {
	e := issues.Errors()[0]
	msg := e.Message
	switch {
	case strings.Contains(msg, "undeclared reference"):
		known := slices.Sorted(maps.Keys(l.vars))
		msg = fmt.Sprintf("%s; known here: %s", strings.TrimSuffix(msg, " (in container '')"), strings.Join(known, ", "))
	case strings.Contains(msg, "applied to '(double, int)'"), strings.Contains(msg, "applied to '(int, double)'"):
		msg += "; features are doubles: write 2.0 rather than 2, or convert with double(…)"
	}
	return fmt.Errorf("%q, column %d: %s", text, e.Location.Column()+1, msg)
}

// interpreted compiles an expression for CEL's own interpreter, for what the translator
// does not support.
func (l *language) interpreted(ast *cel.Ast, out kind) (code, error) {
	prg, err := l.env.Program(ast, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(100_000))
	if err != nil {
		return code{}, fmt.Errorf("CEL: %w", err)
	}
	run := func(sc *scope) any {
		v, _, err := prg.Eval(activation{sc, l.vars})
		if err != nil {
			sc.failed = true
			return nil
		}
		return v.Value()
	}
	c := code{kind: out}
	c.i = func(sc *scope) int64 { v, _ := run(sc).(int64); return v }
	c.f = func(sc *scope) float64 { v, _ := run(sc).(float64); return v }
	c.b = func(sc *scope) bool { v, _ := run(sc).(bool); return v }
	c.s = func(sc *scope) string { v, _ := run(sc).(string); return v }
	c.t = func(sc *scope) time.Time { v, _ := run(sc).(time.Time); return v }
	return c, nil
}

// activation hands CEL's interpreter the variables.
type activation struct {
	sc   *scope
	vars map[string]variable
}

func (a activation) ResolveName(name string) (any, bool) {
	v, ok := a.vars[name]
	if !ok {
		return nil, false
	}
	switch v.code.kind {
	case kindInt:
		return v.code.i(a.sc), true
	case kindFloat:
		return v.code.f(a.sc), true
	case kindBool:
		return v.code.b(a.sc), true
	case kindString:
		return v.code.s(a.sc), true
	default:
		return v.code.t(a.sc), true
	}
}

func (a activation) Parent() cel.Activation { return nil }
