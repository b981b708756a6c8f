package policy

import (
	"strings"
	"time"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/interpreter"

	"pitboss/internal/event"
)

// scope gives expressions the values of one decision. It computes a value when it is
// first asked for.
type scope struct {
	lang   *language
	in     *Input
	scores map[string]float64 // those of models that are not killed
	local  time.Time          // now, in the player's time zone
	zone   bool               // the player's time zone is known
	age    int                // full years; -1: unknown

	markers   []Marker // of harm, that hold
	uncertain bool     // a marker could not be read

	act     *action
	channel string

	vals []ref.Val // by variable; only of variables that don't depend on the action
	set  []bool
}

func (l *language) newScope(in *Input, scores map[string]float64) *scope {
	s := &scope{lang: l, in: in, scores: scores, vals: make([]ref.Val, len(l.vars)), set: make([]bool, len(l.vars))}
	s.local, s.zone = in.Now.UTC(), false
	if zone := event.Zone(in.Facts.TimeZone); zone != nil {
		s.local, s.zone = in.Now.In(zone), true
	}
	s.age = event.Age(in.Facts.BirthDate, s.local)
	return s
}

// ResolveName is part of CEL's Activation.
func (s *scope) ResolveName(name string) (any, bool) {
	id, ok := s.lang.ids[name]
	if !ok {
		return nil, false
	}
	v := &s.lang.vars[id]
	if v.perAction {
		if s.act == nil {
			return nil, false
		}
		x := v.get(s)
		return x, x != nil
	}
	if !s.set[id] {
		s.set[id] = true
		if x := v.get(s); x != nil {
			s.vals[id] = types.DefaultTypeAdapter.NativeToValue(x)
		}
	}
	if s.vals[id] == nil {
		return nil, false
	}
	return s.vals[id], true
}

// Parent is part of CEL's Activation.
func (s *scope) Parent() interpreter.Activation { return nil }

func (s *scope) schemes() []string {
	out := make([]string, len(s.in.Facts.Exclusions))
	for i, x := range s.in.Facts.Exclusions {
		out[i] = x.Scheme
	}
	return out
}

// indicator reports whether an indicator of that strength holds, raised by the
// platform or seen by Pitboss. It returns nil if that is unknown.
func (s *scope) indicator(strength string) any {
	for _, v := range s.in.Facts.Indicators {
		if v == strength {
			return true
		}
	}
	for _, m := range s.markers {
		if m.Strength == strength {
			return true
		}
	}
	if s.uncertain {
		return nil
	}
	return false
}

func (s *scope) limitReached() bool {
	for _, l := range s.in.Facts.Limits {
		if !l.Reached.IsZero() && s.in.Now.Sub(l.Reached) < 24*time.Hour {
			return true
		}
	}
	return false
}

// optIn reports whether the player opted in to the action's product on its channel and
// whether such an opt-in was given on the operator's own site or in its app. Any
// opt-out that covers the product and the channel overrides all opt-ins; an opt-out of
// "all" covers every product.
func (s *scope) optIn() (given, onSite bool) {
	product := s.act.decl.Product
	for key, granted := range s.in.Facts.Consents {
		p, c, _ := strings.Cut(key, "/")
		if (p != "all" && product != "all" && p != product) || (c != "all" && c != s.channel) {
			continue
		}
		if !granted {
			return false, false
		}
		// An opt-in for one product does not cover a message about all of them.
		if p == "all" || p == product {
			origin := s.in.Facts.Origins[key]
			given, onSite = true, onSite || origin == "site" || origin == "app"
		}
	}
	return given, onSite
}
