package feature

import (
	"fmt"
	"strings"
	"time"
)

// Explanation is one feature's value and the stored state behind it.
type Explanation struct {
	Declaration Declaration
	Value       float64
	// Stored describes the feature's slots in the state.
	Stored []string
}

// Explain returns every feature, helpers included, as of asOf.
func (s *Set) Explain(st *State, asOf time.Time) []Explanation {
	sc := s.scopes.Get().(*scope)
	defer s.release(sc)
	sc.set, sc.st = s, st
	sc.look(asOf.UnixMilli())
	out := make([]Explanation, len(s.features))
	for i, f := range s.features {
		out[i] = Explanation{Declaration: f.decl, Value: sc.feature(i)}
		for _, n := range []int{f.num, f.den} {
			if n >= 0 {
				out[i].Stored = append(out[i].Stored, s.describe(st, n))
			}
		}
	}
	return out
}

// describe returns the content of slot n. For an ordered slot that is the base and the
// head.
func (s *Set) describe(st *State, n int) string {
	sl := s.slots[n]
	text := fmt.Sprintf("slot %08x: %s", sl.hash, &st.cells[n])
	if sl.ordered {
		st.refresh()
		text = fmt.Sprintf("slot %08x: base %s; with the timeline %s", sl.hash, &st.cells[n], &st.head[s.headAt[n]])
	}
	return text
}

// String lists the members that are set.
func (c *cell) String() string {
	if !c.on {
		return "empty"
	}
	var parts []string
	add := func(name string, v any, set bool) {
		if set {
			parts = append(parts, fmt.Sprintf("%s=%v", name, v))
		}
	}
	add("active", timeOf(c.act).Format(time.RFC3339Nano), c.act != 0)
	add("at", timeOf(c.t).Format(time.RFC3339Nano), c.t != 0)
	add("key", fmt.Sprintf("%08x", c.k), c.k != 0)
	add("i", c.i, c.i != 0)
	add("j", c.j, c.j != 0)
	add("x", c.f, c.f != 0)
	add("weight", c.g, c.g != 0)
	for _, m := range c.set {
		parts = append(parts, fmt.Sprintf("[%d]=%d", m.id, m.v))
	}
	if parts == nil {
		return "0"
	}
	return strings.Join(parts, " ")
}

// Dump writes a whole state as text, for tests and for support.
func (s *Set) Dump(st *State) string {
	var b strings.Builder
	fmt.Fprintf(&b, "as of %s, %d events applied\n", st.AsOf().Format(time.RFC3339Nano), st.applied)
	for _, r := range st.facts {
		fmt.Fprintf(&b, "fact %d %q = %q at %s\n", r.tag, r.key, r.val, r.pos.time().Format(time.RFC3339Nano))
	}
	for n, sl := range s.slots {
		if st.cells[n].on {
			fmt.Fprintf(&b, "slot %08x %s: %s\n", sl.hash, sl.text, &st.cells[n])
		}
	}
	for i := range st.rows {
		r := &st.rows[i]
		fmt.Fprintf(&b, "timeline %s/%08x:", r.pos.time().Format(time.RFC3339Nano), r.pos.key)
		for n, in := range s.inputs {
			if v, ok := st.input(r, n); ok {
				fmt.Fprintf(&b, " %s=%v", in.text, v.number(in.float))
			}
		}
		b.WriteByte('\n')
	}
	for _, p := range st.void {
		fmt.Fprintf(&b, "void %s/%08x\n", p.time().Format(time.RFC3339Nano), p.key)
	}
	return b.String()
}

// Declarations returns the features as declared, helpers included.
func (s *Set) Declarations() []Declaration {
	out := make([]Declaration, len(s.features))
	for i, f := range s.features {
		out[i] = f.decl
	}
	return out
}
