package feature

import (
	"math"
	"slices"
	"strconv"
	"time"
)

// Vector appends the features of st at asOf to dst, in the order of [Set.Names]. Every
// value is finite. asOf is normally [State.AsOf].
func (s *Set) Vector(dst []float64, st *State, asOf time.Time) []float64 {
	sc := s.scopes.Get().(*scope)
	defer s.release(sc)
	sc.set, sc.st = s, st
	sc.look(asOf.UnixMilli())
	dst = slices.Grow(dst, len(s.vector))
	for _, i := range s.vector {
		dst = append(dst, sc.feature(i))
	}
	return dst
}

// look sets the time at which features are read.
func (sc *scope) look(ms int64) {
	sc.asOf = ms
	sc.stamp++
}

// decayAsOf returns the time at which decayed sums are read. No event is later.
func (sc *scope) decayAsOf() int64 { return max(sc.asOf, sc.st.latest) }

// feature returns the value of feature i at sc.asOf. It is computed once.
func (sc *scope) feature(i int) float64 {
	if sc.have[i] == sc.stamp {
		return sc.vals[i]
	}
	f := sc.set.features[i]
	x, ok := sc.read(f)
	if !ok || math.IsNaN(x) || math.IsInf(x, 0) {
		x = f.empty
	}
	x += 0 // turns -0 into 0: JSON readers differ on -0
	sc.vals[i], sc.have[i] = x, sc.stamp
	return x
}

func (sc *scope) read(f *feature) (x float64, ok bool) {
	st, slots := sc.st, sc.set.slots
	switch f.eval {
	case readSum:
		return slots[f.num].sum(&st.cells[f.num], sc.decayAsOf(), sc.growing), true
	case readShare:
		den := slots[f.den].sum(&st.cells[f.den], sc.decayAsOf(), sc.growing)
		if math.Abs(den) < faded {
			return 0, false
		}
		return slots[f.num].sum(&st.cells[f.num], sc.decayAsOf(), sc.growing) / den, true
	case readOrdered:
		st.refresh()
		sl := slots[f.num]
		x, ok = sl.read(&st.head[sc.set.headAt[f.num]], sc.asOf)
		if sl.agg == opSince && ok {
			x = min(x, f.empty) // never more than the value for "there was none"
		}
		return x, ok
	default:
		was := sc.failed
		sc.failed = false
		x = f.expr.float(sc)
		ok = !sc.failed
		sc.failed = was
		return x, ok
	}
}

// float runs a numeric or bool program as a float64.
func (p *program) float(sc *scope) float64 {
	switch p.code.kind {
	case kindFloat:
		return p.code.f(sc)
	case kindInt:
		return float64(p.code.i(sc))
	default:
		if p.code.b(sc) {
			return 1
		}
		return 0
	}
}

// AppendJSON appends the vector as a JSON object in order of declaration.
// Every number reads back to the same bits.
func (s *Set) AppendJSON(dst []byte, vector []float64) []byte {
	dst = append(slices.Grow(dst, s.jsonSize), '{')
	for i, x := range vector {
		dst = append(dst, s.quoted[i]...)
		switch n := int64(x); {
		case float64(n) == x && n > -1<<53 && n < 1<<53:
			dst = strconv.AppendInt(dst, n, 10)
		case math.Abs(x) < 1e-6 || math.Abs(x) >= 1e21:
			dst = strconv.AppendFloat(dst, x, 'e', -1, 64)
		default:
			dst = strconv.AppendFloat(dst, x, 'f', -1, 64)
		}
	}
	return append(dst, '}')
}
