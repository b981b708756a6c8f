package policy

import (
	"slices"
	"time"

	"pitboss/internal/strictyaml"
)

// Retention is how long the law requires the operator to keep records of customer
// interactions and exclusions after a player's erasure.
type Retention struct {
	For      strictyaml.Duration `yaml:"for"`
	Source   Source              `yaml:"source"`
	Reviewed bool                `yaml:"reviewed"`
}

const leastRetention = strictyaml.Duration(30 * 24 * time.Hour)

func (l *loader) retention(f *PackFile) {
	r := f.Retention
	if r != nil && (r.For < leastRetention || r.Source.Document == "") {
		l.problem("$.retention", "pack "+f.Pack, "give for (at least 30d) and source.document", "for is %v", time.Duration(r.For))
	}
}

// Retention returns the retention for players of a jurisdiction: that of its pack, or
// the longest of the packs that it includes. Without a pack, the default pack counts,
// which includes all. ok is false if none of them declares one.
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
