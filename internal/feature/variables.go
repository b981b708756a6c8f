package feature

import (
	"time"

	"pitboss/internal/event"
)

// variable is a name an expression may use.
type variable struct {
	name    string
	code    code
	feature int // index, or -1
}

// eventVariables returns the variables of every expression over an event.
func eventVariables() []variable {
	str := func(name string, get func(*scope) string) variable {
		return variable{name, code{kind: kindString, s: get}, -1}
	}
	num := func(name string, get func(*scope) int64) variable {
		return variable{name, code{kind: kindInt, i: get}, -1}
	}
	return []variable{
		str("event.type", func(sc *scope) string { return sc.typ }),
		str("event.source", func(sc *scope) string { return sc.src }),
		str("event.id", func(sc *scope) string { return sc.id }),
		{"event.time", code{kind: kindTime, t: func(sc *scope) time.Time { return sc.time }}, -1},
		num("event.hour", func(sc *scope) int64 { return floorMod(sc.time.Unix(), 86400) / 3600 }),
		num("event.weekday", func(sc *scope) int64 { return int64(sc.time.UTC().Weekday()) }),
		num("event.day", func(sc *scope) int64 { return (sc.time.Unix() - floorMod(sc.time.Unix(), 86400)) / 86400 }),
	}
}

func floorMod(a, b int64) int64 {
	if m := a % b; m < 0 {
		return m + b
	} else {
		return m
	}
}

// dataVariables returns the members of an event type's data.
func dataVariables(info *event.Info) []variable {
	var out []variable
	for i := range info.Fields {
		f := &info.Fields[i]
		v := variable{name: "data." + f.Name, feature: -1}
		switch f.Kind {
		case event.Int:
			v.code = code{kind: kindInt, i: func(sc *scope) int64 { return f.Int(sc.data) }}
		case event.String:
			v.code = code{kind: kindString, s: func(sc *scope) string { return f.String(sc.data) }}
		case event.Bool:
			v.code = code{kind: kindBool, b: func(sc *scope) bool { return f.Bool(sc.data) }}
		case event.Time:
			v.code = code{kind: kindTime, t: func(sc *scope) time.Time { return f.Value(sc.data).(time.Time) }}
		}
		out = append(out, v)
	}
	return out
}

// featureVariables returns the declared features, with a prefix before each name.
func (b *builder) featureVariables(prefix string) []variable {
	names := make([]string, len(b.set.features))
	for i, f := range b.set.features {
		names[i] = prefix + f.decl.Name
	}
	return featureVariables(names)
}

func featureVariables(names []string) []variable {
	out := make([]variable, len(names))
	for i, name := range names {
		out[i] = variable{name, code{kind: kindFloat, f: func(sc *scope) float64 { return sc.feature(i) }}, i}
	}
	return out
}
