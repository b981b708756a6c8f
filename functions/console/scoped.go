package console

import (
	"maps"
	"time"

	"pitboss/internal/access"
)

// A person with roles at some places sees the decisions of those places only, and the
// counts on the live page leave out the others. Events, latencies and the Broker have
// no place, so everybody sees them.

// place is a jurisdiction and a brand.
type place struct{ jurisdiction, brand string }

// placeFlow counts what was decided at a place.
type placeFlow struct {
	total   [2]int64 // issued, suppressed
	second  ring[[2]int32]
	rules   map[string]*ruleCount
	actions map[string]int64
}

// maxPlaces bounds the memory: a place takes 3 KB.
const maxPlaces = 1024

// at returns the counts of a place, or nil if there are too many places.
func (f *flow) at(where place) *placeFlow {
	p := f.places[where]
	if p == nil && len(f.places) < maxPlaces {
		p = &placeFlow{second: make(ring[[2]int32], history), rules: map[string]*ruleCount{}, actions: map[string]int64{}}
		f.places[where] = p
	}
	return p
}

// add counts a decision. verdict is 0 if it was issued and 1 if it was suppressed.
func (p *placeFlow) add(verdict int, at time.Time) {
	p.total[verdict]++
	p.second.at(at.Unix())[verdict]++
}

// decidedStages are the stages that are counted by place, in placeFlow's order.
var decidedStages = [2]stage{stageIssued, stageSuppressed}

// limit replaces the counts of decisions in v by those of the places that sees allows.
func (f *flow) limit(v *flowView, sees func(jurisdiction, brand string) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	all, second := maps.Clone(v.Stages), secondView{Unix: v.Second.Unix, N: maps.Clone(v.Second.N)}
	for _, st := range decidedStages {
		all[stageNames[st]], second.N[stageNames[st]] = stageNow{}, 0
	}
	rules, actions, law := map[string]*ruleCount{}, map[string]int64{}, map[string]int64{}
	for where, p := range f.places {
		if !sees(where.jurisdiction, where.brand) {
			continue
		}
		for i, st := range decidedStages {
			s := all[stageNames[st]]
			s.Total += p.total[i]
			for back := int64(1); back <= rateOver; back++ {
				s.Rate += float64(p.second.in(v.At.Unix() - back)[i]) / rateOver
			}
			all[stageNames[st]] = s
			second.N[stageNames[st]] += p.second.in(second.Unix)[i]
		}
		law[where.jurisdiction] += p.total[0]
		addRules(rules, p.rules)
		for name, n := range p.actions {
			actions[name] += n
		}
	}
	v.Stages, v.Second = all, second
	v.Rules, v.Actions, v.Law = topRules(rules), topOf(actions, 10), topOf(law, 12)
}

func addRules(to, from map[string]*ruleCount) {
	for id, r := range from {
		if to[id] == nil {
			to[id] = &ruleCount{}
		}
		to[id].n += r.n
		to[id].text = r.text
	}
}

// limitSeries does the same for the lines of the charts.
func (f *flow) limitSeries(series map[string][]int32, now time.Time, sees func(jurisdiction, brand string) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, st := range decidedStages {
		line := series[stageNames[st]]
		clear(line)
		for where, p := range f.places {
			if !sees(where.jurisdiction, where.brand) {
				continue
			}
			for k := range line {
				line[k] += p.second.in(now.Unix() - int64(len(line)-k))[i]
			}
		}
	}
}

// forPerson returns the frame without what the person may not see: the decisions of
// other places, their number and what those places get, and markers of harm.
func (fr *frame) forPerson(p *access.Person) *frame {
	c := *fr
	c.Issued, c.Suppressed = visible(fr.Issued, p), visible(fr.Suppressed, p)
	c.Review = countAt(fr.waiting, p.Sees)
	for _, e := range fr.erased {
		if p.Sees(e.jurisdiction, e.brand) {
			c.Erased = append(c.Erased, e.player)
		}
	}
	if p.Everywhere(access.Viewer) {
		return &c
	}
	c.Limited, c.Skipped = true, 0
	fr.limit(&c.Flow, p.Sees)
	seen := func(by, name string) bool {
		return by == "jurisdiction" && p.Sees(name, "") || by == "brand" && p.Sees("", name)
	}
	c.Places = map[string][]placeNow{}
	for by, list := range fr.Places {
		for _, l := range list {
			if seen(by, l.Name) {
				c.Places[by] = append(c.Places[by], l)
			}
		}
	}
	c.Troubles = nil
	for _, t := range fr.Troubles {
		if t.Code != "place-starved" || seen(t.What, t.Name) {
			c.Troubles = append(c.Troubles, t)
		}
	}
	return &c
}
