package policy

import (
	"slices"
	"time"
)

// Retention is how long the law makes the operator keep what was said to and
// about a player (customer interactions, exclusions), after the player's erasure.
type Retention struct {
	For      Span   `yaml:"for"`
	Source   Source `yaml:"source"`
	Reviewed bool   `yaml:"reviewed"`
}

func (r *Retention) orNone() Retention {
	if r == nil {
		return Retention{}
	}
	return *r
}

const leastRetention = Span(30 * 24 * time.Hour)

func (l *loader) retention(f *PackFile) {
	r := f.Retention
	if r != nil && (r.For < leastRetention || r.Source.Document == "") {
		l.add(l.src.problem("$.retention", "pack "+f.Pack, "give for (at least 30d) and source.document", "for is %v", time.Duration(r.For)))
	}
}

// Retention is how long it is kept of a player of a jurisdiction: as its pack
// says, or the longest of those that it includes; where there is no pack, as
// the longest of all says. ok is false where no pack says anything.
func (f *Files) Retention(jurisdiction string) (r Retention, ok bool) {
	byName := map[string]*PackFile{}
	for _, p := range f.packs {
		byName[p.Pack] = &p.PackFile
	}
	home, found := byName[jurisdiction]
	if !found || home.Shared {
		home = byName[DefaultPack]
	}
	if home == nil {
		return r, false
	}
	if home.Retention != nil {
		return *home.Retention, true
	}
	for name, p := range byName {
		if (slices.Contains(home.Include, name) || slices.Contains(home.Include, "*")) && p.Retention != nil && p.Retention.For > r.For {
			r, ok = *p.Retention, true
		}
	}
	return r, ok
}
