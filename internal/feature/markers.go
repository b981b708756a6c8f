package feature

import (
	"cmp"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"pitboss/internal/event"
)

// A condition of score_when with `markers` asks for a decision at the event at which
// any marker of harm begins to hold, so that nobody has to write a condition for each
// of them. It only checks the marker's numbers: whether the marker counts in the
// player's jurisdiction is for the function decide to tell.

// markerFile holds the parts of markers.yaml that are needed here; package policy
// checks the rest.
type markerFile struct {
	Currencies map[string]float64 `yaml:"currencies"`
	Markers    []struct {
		ID    string `yaml:"id"`
		Reads map[string]struct {
			Value   string  `yaml:"value"`
			AtLeast float64 `yaml:"at_least"`
			Money   bool    `yaml:"money"`
		} `yaml:"reads"`
		Unless string `yaml:"unless"`
	} `yaml:"markers"`
}

// watch is the condition over all markers.
type watch struct {
	ask     string // the condition's name
	spacing int64  // milliseconds
	units   map[string]float64
	markers []watched
}

// watched is one marker. Its slot keeps when it last asked.
type watched struct {
	slot   int
	reads  []reading // those that cost least first
	unless *program
}

type reading struct {
	feature int // -1: value
	value   *program
	atLeast float64
	money   bool
}

// watchMarkers compiles the condition over the markers of the file that it names.
func (b *builder) watchMarkers(d *Condition, path, within string) error {
	if b.set.watch != nil || len(d.On) > 0 || d.When != "" || d.Reminder != "" {
		return b.fault(path+".markers", within, "only one condition may have markers, and without on, when and reminder")
	}
	src, err := os.ReadFile(filepath.Join(filepath.Dir(b.file), d.Markers))
	if err != nil {
		return b.fault(path+".markers", within, "the markers of harm can't be read: %v", err)
	}
	var file markerFile
	if err := yaml.Unmarshal(src, &file); err != nil {
		return b.fault(path+".markers", within, "%s: %v", d.Markers, err)
	}
	lang, err := newLanguage(playerVariables(), b.featureVariables("features."))
	if err != nil {
		return err
	}
	w := &watch{ask: d.Name, spacing: d.Spacing.Milliseconds(), units: file.Currencies}
	for _, m := range file.Markers {
		one := watched{}
		if one.slot, err = b.register("due|"+m.ID, path, within); err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(m.Reads)) {
			r := m.Reads[name]
			read := reading{feature: b.featureNamed(r.Value), atLeast: r.AtLeast, money: r.Money}
			if read.feature < 0 {
				read.value, err = lang.compile(r.Value, kindFloat)
			}
			if err != nil {
				return b.fault(path+".markers", within, "%s: %s: %v", m.ID, name, err)
			}
			one.reads = append(one.reads, read)
		}
		slices.SortStableFunc(one.reads, func(a, b reading) int { return -cmp.Compare(min(a.feature, 0), min(b.feature, 0)) })
		if m.Unless != "" {
			if one.unless, err = lang.compile(m.Unless, kindBool); err != nil {
				return b.fault(path+".markers", within, "%s: unless: %v", m.ID, err)
			}
		}
		w.markers = append(w.markers, one)
	}
	b.set.watch = w
	return nil
}

// featureNamed returns the index of the feature if the expression is just a feature's
// name, or -1.
func (b *builder) featureNamed(text string) int {
	name, ok := strings.CutPrefix(text, "features.")
	if !ok {
		return -1
	}
	return slices.IndexFunc(b.set.features, func(f *feature) bool { return f.decl.Name == name })
}

// playerVariables returns the variables of markers besides features. Their names are
// those of the rules.
func playerVariables() []variable {
	return []variable{
		{"player.affordability", code{kind: kindString, s: func(sc *scope) string { return sc.fact(factAfford) }}, -1},
		{"player.jurisdiction", code{kind: kindString, s: func(sc *scope) string { return sc.fact(factJurisdiction) }}, -1},
		{"player.zone_known", code{kind: kindBool, b: func(sc *scope) bool { return event.Zone(sc.fact(factTimeZone)) != nil }}, -1},
		{"player.age_known", code{kind: kindBool, b: func(sc *scope) bool { return sc.age() >= 0 }}, -1},
		{"player.age", code{kind: kindInt, i: func(sc *scope) int64 {
			age := sc.age()
			sc.failed = sc.failed || age < 0
			return int64(age)
		}}, -1},
		{"hour", code{kind: kindInt, i: func(sc *scope) int64 { return int64(sc.local().Hour()) }}, -1},
	}
}

func (sc *scope) fact(tag factTag) string {
	r, _ := sc.st.fact(tag, "")
	return r.val
}

// local returns sc.asOf in the player's time zone, or in UTC if that is unknown.
func (sc *scope) local() time.Time {
	t := time.UnixMilli(sc.asOf).UTC()
	if zone := event.Zone(sc.fact(factTimeZone)); zone != nil {
		t = t.In(zone)
	}
	return t
}

func (sc *scope) age() int { return event.Age(sc.fact(factBirthDate), sc.local()) }

// asks reports whether a marker holds that has not asked within the spacing. After a
// change of the account every marker that holds asks again, because the account's data
// decide what its numbers mean.
func (w *watch) asks(sc *scope, typ string, ms int64) (due bool) {
	account := typ == event.TypeAccountUpdated || typ == event.TypeAccountRegistered
	units := 0.0 // looked up when money is read
	for i := range w.markers {
		m := &w.markers[i]
		c := &sc.st.cells[m.slot]
		if c.t != 0 && ms < c.t+w.spacing && !account || !w.holds(m, sc, &units) {
			continue
		}
		c.on, c.t, due = true, ms, true
	}
	return due
}

func (w *watch) holds(m *watched, sc *scope, units *float64) bool {
	for i := range m.reads {
		r := &m.reads[i]
		at := r.atLeast
		if r.money {
			if *units == 0 {
				*units = cmp.Or(w.units[sc.fact(factCurrency)], 1)
			}
			at *= *units
		}
		if r.feature >= 0 {
			if sc.feature(r.feature) < at {
				return false
			}
			continue
		}
		if v, ok := r.value.number(sc); !ok || v.float() < at {
			return false
		}
	}
	if m.unless == nil {
		return true
	}
	v, ok := m.unless.number(sc)
	return !ok || v == 0
}
