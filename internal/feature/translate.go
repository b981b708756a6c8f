package feature

import (
	"math"
	"slices"

	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/types"
)

// translator turns a checked CEL expression into Go closures. They neither box nor
// allocate and take about 2 ns a node; CEL's interpreter takes about 100. It supports
// arithmetic, comparison, logic, ?: and `in` over numbers, strings and bools, and leaves
// everything else to the interpreter. A test compares the two.
type translator struct {
	vars  map[string]variable
	ast   *ast.AST
	needs map[int]bool // the features that the expression uses
}

// all adds every feature that the expression uses to needs.
func (tr *translator) all(e ast.Expr) {
	ast.PreOrderVisit(e, ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() == ast.IdentKind {
			if v, ok := tr.vars[e.AsIdent()]; ok && v.feature >= 0 {
				tr.needs[v.feature] = true
			}
		}
	}))
}

func (tr *translator) translate(e ast.Expr) (code, bool) {
	switch e.Kind() {
	case ast.LiteralKind:
		return literal(e)
	case ast.IdentKind:
		v, ok := tr.vars[e.AsIdent()]
		if ok && v.feature >= 0 {
			tr.needs[v.feature] = true
		}
		return v.code, ok
	case ast.CallKind:
		return tr.call(e.AsCall())
	default:
		return code{}, false
	}
}

func literal(e ast.Expr) (code, bool) {
	switch v := e.AsLiteral().(type) {
	case types.Int:
		return code{kind: kindInt, i: func(*scope) int64 { return int64(v) }}, true
	case types.Double:
		return float(func(*scope) float64 { return float64(v) })
	case types.Bool:
		return boolean(func(*scope) bool { return bool(v) })
	case types.String:
		return code{kind: kindString, s: func(*scope) string { return string(v) }}, true
	}
	return code{}, false
}

func (tr *translator) call(c ast.CallExpr) (code, bool) {
	if c.IsMemberFunction() {
		return code{}, false
	}
	if c.FunctionName() == operators.In {
		return tr.in(c)
	}
	args := make([]code, len(c.Args()))
	for i, a := range c.Args() {
		var ok bool
		if args[i], ok = tr.translate(a); !ok {
			return code{}, false
		}
	}
	switch len(args) {
	case 1:
		return unary(c.FunctionName(), args[0])
	case 2:
		return dyadic(c.FunctionName(), args[0], args[1])
	case 3:
		if c.FunctionName() == operators.Conditional {
			return choose(args[0], args[1], args[2])
		}
	}
	return code{}, false
}

func unary(op string, a code) (code, bool) {
	switch {
	case op == operators.LogicalNot && a.kind == kindBool:
		return boolean(func(sc *scope) bool { return !a.b(sc) })
	case op == operators.Negate && a.kind == kindFloat:
		return float(func(sc *scope) float64 { return -a.f(sc) })
	case op == operators.Negate && a.kind == kindInt:
		return code{kind: kindInt, i: func(sc *scope) int64 {
			v := a.i(sc)
			sc.failed = sc.failed || v == math.MinInt64
			return -v
		}}, true
	case op == "double" && a.kind == kindInt:
		return float(func(sc *scope) float64 { return float64(a.i(sc)) })
	case (op == "double" && a.kind == kindFloat) || (op == "int" && a.kind == kindInt):
		return a, true
	case op == "int" && a.kind == kindFloat:
		return code{kind: kindInt, i: func(sc *scope) int64 {
			v := a.f(sc)
			if !(v > math.MinInt64 && v < math.MaxInt64) {
				sc.failed = true
				return 0
			}
			return int64(v)
		}}, true
	}
	return code{}, false
}

func choose(when, then, els code) (code, bool) {
	if when.kind != kindBool || then.kind != els.kind {
		return code{}, false
	}
	c := code{kind: then.kind}
	switch then.kind {
	case kindInt:
		c.i = func(sc *scope) int64 { return pick(sc, when, then.i, els.i) }
	case kindFloat:
		c.f = func(sc *scope) float64 { return pick(sc, when, then.f, els.f) }
	case kindBool:
		c.b = func(sc *scope) bool { return pick(sc, when, then.b, els.b) }
	case kindString:
		c.s = func(sc *scope) string { return pick(sc, when, then.s, els.s) }
	default:
		return code{}, false
	}
	return c, true
}

func pick[T any](sc *scope, when code, then, els func(*scope) T) (zero T) {
	switch yes := when.b(sc); {
	case sc.failed:
		return zero
	case yes:
		return then(sc)
	default:
		return els(sc)
	}
}

// in is membership in a list of literals of one kind.
func (tr *translator) in(c ast.CallExpr) (code, bool) {
	if len(c.Args()) != 2 || c.Args()[1].Kind() != ast.ListKind {
		return code{}, false
	}
	a, ok := tr.translate(c.Args()[0])
	if !ok || (a.kind != kindString && a.kind != kindInt) {
		return code{}, false
	}
	var strs []string // there are few: a linear search is faster than a map
	var ints []int64
	for _, e := range c.Args()[1].AsList().Elements() {
		if e.Kind() != ast.LiteralKind {
			return code{}, false
		}
		switch v := e.AsLiteral().(type) {
		case types.String:
			strs = append(strs, string(v))
		case types.Int:
			ints = append(ints, int64(v))
		default:
			return code{}, false
		}
	}
	if a.kind == kindString {
		return boolean(func(sc *scope) bool { return slices.Contains(strs, a.s(sc)) })
	}
	return boolean(func(sc *scope) bool { return slices.Contains(ints, a.i(sc)) })
}
