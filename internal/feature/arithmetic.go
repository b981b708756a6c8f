package feature

import (
	"math"

	"github.com/google/cel-go/common/operators"
)

func dyadic(op string, a, b code) (code, bool) {
	numeric := func(k kind) bool { return k == kindInt || k == kindFloat }
	switch {
	case a.kind == kindBool && b.kind == kindBool:
		return logic(op, a, b)
	case a.kind == kindString && b.kind == kindString:
		return equal(op, a.s, b.s)
	case a.kind == kindInt && b.kind == kindInt:
		if c, ok := compare(op, a.i, b.i); ok {
			return c, true
		}
		return integers(op, a, b)
	case numeric(a.kind) && numeric(b.kind):
		x, y := asFloat(a), asFloat(b)
		if c, ok := compare(op, x, y); ok {
			return c, true
		}
		if a.kind == kindFloat && b.kind == kindFloat {
			return floats(op, x, y)
		}
	}
	return code{}, false
}

func asFloat(c code) func(*scope) float64 {
	if c.kind == kindFloat {
		return c.f
	}
	return func(sc *scope) float64 { return float64(c.i(sc)) }
}

// logic follows CEL: an error on one side does not matter if the other side alone
// decides the result.
func logic(op string, a, b code) (code, bool) {
	if op != operators.LogicalAnd && op != operators.LogicalOr {
		return equal(op, a.b, b.b)
	}
	decides := op == operators.LogicalOr
	return boolean(func(sc *scope) bool {
		before := sc.failed
		sc.failed = false
		x := a.b(sc)
		xFailed := sc.failed
		if !xFailed && x == decides {
			sc.failed = before
			return decides
		}
		sc.failed = false
		y := b.b(sc)
		if !sc.failed && y == decides {
			sc.failed = before
			return decides
		}
		sc.failed = sc.failed || xFailed || before
		return !decides
	})
}

func boolean(f func(*scope) bool) (code, bool) { return code{kind: kindBool, b: f}, true }

func float(f func(*scope) float64) (code, bool) { return code{kind: kindFloat, f: f}, true }

func equal[T comparable](op string, x, y func(*scope) T) (code, bool) {
	switch op {
	case operators.Equals:
		return boolean(func(sc *scope) bool { return x(sc) == y(sc) })
	case operators.NotEquals:
		return boolean(func(sc *scope) bool { return x(sc) != y(sc) })
	}
	return code{}, false
}

func compare[T int64 | float64](op string, x, y func(*scope) T) (code, bool) {
	switch op {
	case operators.Less:
		return boolean(func(sc *scope) bool { return x(sc) < y(sc) })
	case operators.LessEquals:
		return boolean(func(sc *scope) bool { return x(sc) <= y(sc) })
	case operators.Greater:
		return boolean(func(sc *scope) bool { return x(sc) > y(sc) })
	case operators.GreaterEquals:
		return boolean(func(sc *scope) bool { return x(sc) >= y(sc) })
	}
	return equal(op, x, y)
}

func floats(op string, x, y func(*scope) float64) (code, bool) {
	switch op {
	case operators.Add:
		return float(func(sc *scope) float64 { return x(sc) + y(sc) })
	case operators.Subtract:
		return float(func(sc *scope) float64 { return x(sc) - y(sc) })
	case operators.Multiply:
		return float(func(sc *scope) float64 { return x(sc) * y(sc) })
	case operators.Divide:
		return float(func(sc *scope) float64 { return x(sc) / y(sc) })
	}
	return code{}, false
}

// integers fail on overflow and on division by zero, as CEL's do.
func integers(op string, a, b code) (code, bool) {
	var do func(x, y int64) (int64, bool)
	switch op {
	case operators.Add:
		do = func(x, y int64) (int64, bool) { z := x + y; return z, (z > x) == (y > 0) }
	case operators.Subtract:
		do = func(x, y int64) (int64, bool) { z := x - y; return z, (z < x) == (y > 0) }
	case operators.Multiply:
		do = multiply
	case operators.Divide, operators.Modulo:
		do = func(x, y int64) (int64, bool) {
			switch {
			case y == 0 || (x == math.MinInt64 && y == -1):
				return 0, false
			case op == operators.Divide:
				return x / y, true
			}
			return x % y, true
		}
	default:
		return code{}, false
	}
	return code{kind: kindInt, i: func(sc *scope) int64 {
		z, ok := do(a.i(sc), b.i(sc))
		sc.failed = sc.failed || !ok
		return z
	}}, true
}

func multiply(x, y int64) (int64, bool) {
	if x == 0 || y == 0 {
		return 0, true
	}
	z := x * y
	return z, z/y == x && !(x == -1 && y == math.MinInt64) && !(y == -1 && x == math.MinInt64)
}
