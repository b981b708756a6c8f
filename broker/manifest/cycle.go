package manifest

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"pitboss/internal/event"
)

// hop says that an event of type from matches a Trigger whose function can reply
// with an event of type to.
type hop struct {
	from, to string
	trigger  Trigger
}

// lintCycles reports every cycle of replies that the Triggers allow. Kafka's and
// RabbitMQ's Brokers have no TTL, so such a cycle would never end there.
func lintCycles(triggers []Trigger, funcs []*Func) Problems {
	var ps Problems
	byName := map[string]*Func{}
	for _, f := range funcs {
		byName[f.Name] = f
		ps = append(ps, lintTypes(f)...)
	}
	var hops []hop
	for _, t := range triggers {
		if t.Spec.Subscriber.Ref == nil {
			continue
		}
		f := byName[t.Spec.Subscriber.Ref.Name]
		if f == nil {
			continue
		}
		for _, from := range matched(t, f) {
			for _, to := range f.list(repliesAnnotation) {
				hops = append(hops, hop{from, to, t})
			}
		}
		ps = append(ps, lintEverything(t, f)...)
		sets, _ := exacts(t.Trigger)
		for _, set := range sets {
			if typ := set.attributes["type"]; typ != "" && !slices.Contains(expand(f.list(takesAnnotation)), typ) {
				ps = append(ps, &Problem{File: t.File, Where: set.field + ".type", Detail: fmt.Sprintf("%s does not take %s", f.Folder, typ), Remedy: "add it to " + takesAnnotation + " in " + f.File + " if it does"})
			}
		}
	}
	return append(ps, cycles(hops)...)
}

// lintEverything refuses a Trigger without a type if its function takes only some
// types. The function would refuse the others, and each would become a dead letter.
func lintEverything(t Trigger, f *Func) Problems {
	takes := f.list(takesAnnotation)
	sets, ok := exacts(t.Trigger)
	if slices.Contains(takes, "all") || !ok && len(t.Spec.Filters) > 0 {
		return nil
	}
	if !ok {
		sets = []exact{{field: "spec.filter.attributes"}}
	}
	var ps Problems
	for _, set := range sets {
		misspelt := func(name string) bool { return !slices.Contains(attributeNames, name) }
		if set.attributes["type"] != "" || slices.ContainsFunc(slices.Collect(maps.Keys(set.attributes)), misspelt) {
			continue // the type itself can be misspelt, and lintAttribute reports that
		}
		ps = append(ps, &Problem{File: t.File, Where: set.field + ".type", Detail: fmt.Sprintf("is missing: %s would get every event and refuse all but %s", f.Folder, strings.Join(takes, ", ")),
			Remedy: "name each type, or " + takesAnnotation + ": all in " + f.File + " if the function takes everything"})
	}
	return ps
}

// lintTypes checks the types a func.yaml names.
func lintTypes(f *Func) Problems {
	var ps Problems
	for _, a := range []string{takesAnnotation, repliesAnnotation} {
		for _, typ := range f.list(a) {
			if _, ok := event.Lookup(typ); !ok && (a == repliesAnnotation || typ != "in" && typ != "all") {
				ps = append(ps, &Problem{File: f.File, Where: "deploy.annotations." + a, Detail: fmt.Sprintf("%q is not in the event catalogue", typ), Remedy: "a type of the catalogue, in, or all"})
			}
		}
	}
	return ps
}

// matched returns the types that pass the Trigger's filter, or every type that the
// function takes if the filter is not exact about the type.
func matched(t Trigger, f *Func) []string {
	takes := expand(f.list(takesAnnotation))
	sets, ok := exacts(t.Trigger)
	var out []string
	for _, set := range sets {
		typ := set.attributes["type"]
		ok = ok && typ != ""
		out = append(out, typ)
	}
	if !ok {
		return takes
	}
	return out
}

func expand(takes []string) []string {
	var out []string
	for _, t := range takes {
		switch t {
		case "in", "all":
			for _, i := range event.Types() {
				if t == "all" || i.Direction == event.In {
					out = append(out, i.Type)
				}
			}
		default:
			out = append(out, t)
		}
	}
	return out
}

// cycles walks the hops depth first and reports each path that returns to its start.
func cycles(hops []hop) Problems {
	next := map[string][]hop{}
	var starts []string
	for _, h := range hops {
		if len(next[h.from]) == 0 {
			starts = append(starts, h.from)
		}
		next[h.from] = append(next[h.from], h)
	}
	var ps Problems
	done := map[string]bool{}
	var path []hop
	var walk func(typ string)
	walk = func(typ string) {
		if at := slices.IndexFunc(path, func(h hop) bool { return h.from == typ }); at >= 0 {
			ps = append(ps, cycleProblem(path[at:]))
			return
		}
		if done[typ] {
			return
		}
		for _, h := range next[typ] {
			path = append(path, h)
			walk(h.to)
			path = path[:len(path)-1]
		}
		done[typ] = true
	}
	for _, s := range starts {
		walk(s)
	}
	return ps
}

func cycleProblem(loop []hop) *Problem {
	way := loop[0].from
	for _, h := range loop {
		way += fmt.Sprintf(" –%s→ %s", strings.TrimSuffix(filepath.Base(h.trigger.File), ".yaml"), h.to)
	}
	last := loop[len(loop)-1].trigger
	return &Problem{File: last.File, Where: "spec.filter.attributes.type", Detail: "a cycle of replies: " + way, Remedy: "narrow the filter, or reply with another type; on Kafka and RabbitMQ nothing stops the loop"}
}
