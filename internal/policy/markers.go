package policy

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/cel-go/cel"

	"pitboss/internal/strictyaml"
)

// MarkerFile is the content of markers.yaml: the signs of harm that Pitboss looks for
// in a player's events.
type MarkerFile struct {
	Version int `yaml:"version"`
	// Currencies maps a currency to how many units are about one pound. Thresholds in
	// money are in pence; a currency that is not listed counts as pounds.
	Currencies map[string]float64 `yaml:"currencies"`
	// AfterClearing is how long no marker of a group is raised after a person cleared
	// the group.
	AfterClearing strictyaml.Duration `yaml:"after_clearing"`
	Markers       []MarkerDecl        `yaml:"markers"`
}

// MarkerDecl is one marker of harm. It is raised when every value that it reads
// reaches its threshold. It then holds for a time, or until a person clears its group
// (protection.indicator.raised, strength none).
type MarkerDecl struct {
	ID            string              `yaml:"id"`
	Version       int                 `yaml:"version"`
	Doc           string              `yaml:"doc"`
	Group         string              `yaml:"group"`    // of LCCP SR 3.4.3
	Strength      string              `yaml:"strength"` // low | strong
	Window        string              `yaml:"window"`   // the time it looks back over, in words
	Source        Source              `yaml:"source"`
	Reviewed      bool                `yaml:"reviewed"`
	Jurisdictions []string            `yaml:"jurisdictions"` // none: everywhere
	Reads         map[string]Reading  `yaml:"reads"`
	Unless        string              `yaml:"unless"` // CEL, bool: not raised where it holds
	Text          string              `yaml:"text"`   // {name} stands for the value of a reading
	Holds         strictyaml.Duration `yaml:"holds"`
	Tests         []RuleTest          `yaml:"tests"` // expect raised or quiet
}

// Reading is one value of a marker and its threshold.
type Reading struct {
	Value   string  `yaml:"value"` // CEL, double
	AtLeast float64 `yaml:"at_least"`
	Money   bool    `yaml:"money"` // pence, converted to the player's currency
}

// Marker is a marker of harm that holds at a decision. At is when it was last
// seen: the decision's own time, or an earlier one that it still holds from.
type Marker struct {
	ID       string    `json:"id"`
	Version  int       `json:"version"`
	Group    string    `json:"group"`
	Strength string    `json:"strength"`
	At       time.Time `json:"at"`
	Text     string    `json:"text,omitzero"` // with the numbers: personal
}

// Raised is a marker in a contact history: when it was last seen.
type Raised struct {
	Code uint32 // ActionCode of the marker's id
	At   time.Time
}

type marker struct {
	decl   *MarkerDecl
	code   uint32
	reads  []markerRead
	unless *expression
}

type markerRead struct {
	Reading
	name    string
	feature int // index of the feature, if the value is just a feature; -1: see expr
	expr    *expression
}

var (
	groupNames    = []string{"spend", "spend_pattern", "time", "behaviour", "contact", "tools", "account"}
	strengthNames = []string{"low", "strong"}
)

const markersName = "markers.yaml"

func (l *loader) markers() {
	l.src = newSource(markersName, l.p.files[markersName])
	f := &l.p.signs
	if f.AfterClearing < 0 || f.AfterClearing > strictyaml.Duration(contactsFor) {
		l.problem("$.after_clearing", "", "at most 31d", "after_clearing is %v", time.Duration(f.AfterClearing))
	}
	for currency, units := range f.Currencies {
		if len(currency) != 3 || units <= 0 {
			l.problem("$.currencies", "", "units to about one pound: EUR: 1.2", "%s is %v", currency, units)
		}
	}
	seen := map[string]bool{}
	for i := range f.Markers {
		l.marker(fmt.Sprintf("$.markers[%d]", i), &f.Markers[i], seen)
	}
}

func (l *loader) marker(path string, d *MarkerDecl, seen map[string]bool) {
	what := "marker " + d.ID
	if d.ID == "" || seen[d.ID] {
		l.problem(path, what, "every marker has an id of its own", "id is empty or taken")
	}
	seen[d.ID] = true
	if d.Version < 1 || d.Doc == "" || d.Text == "" || d.Window == "" || d.Source.Document == "" || len(d.Reads) == 0 {
		l.problem(path, what, "give version (from 1), doc, window, source.document, reads and text", "incomplete")
	}
	if d.Holds <= 0 || d.Holds > strictyaml.Duration(contactsFor) {
		l.problem(path, what, "how long marketing stays stopped after it was last seen, at most 31d", "holds is %v", time.Duration(d.Holds))
	}
	l.oneOf(path+".group", what, "group", d.Group, groupNames)
	l.oneOf(path+".strength", what, "strength", d.Strength, strengthNames)
	m := &marker{decl: d, code: ActionCode(d.ID)}
	if d.Unless != "" {
		m.unless = l.expression(path+".unless", what+": unless", d.Unless, "", cel.BoolType)
	}
	for _, name := range slices.Sorted(maps.Keys(d.Reads)) {
		r := markerRead{Reading: d.Reads[name], name: name, feature: -1}
		if f, ok := strings.CutPrefix(r.Value, "features."); ok {
			r.feature = slices.Index(l.p.lang.featureNames, f)
		}
		if r.feature < 0 {
			r.expr = l.expression(path+".reads."+name, what+": "+name, r.Value, "", cel.DoubleType)
		}
		m.reads = append(m.reads, r)
	}
	for _, name := range placeholders.FindAllStringSubmatch(d.Text, -1) {
		if _, ok := d.Reads[name[1]]; !ok {
			l.problem(path+".text", what, "give it under reads", "the text has {%s}, which nothing reads", name[1])
		}
	}
	l.p.markers = append(l.p.markers, m)
}

// lookForHarm finds the markers that hold now. A marker that can't be evaluated
// leaves the indicators in doubt, which stops marketing.
func (e *evaluation) lookForHarm() {
	room := make([]float64, 0, 8)
	for _, m := range e.p.markers {
		if len(m.decl.Jurisdictions) > 0 && e.pack.decl.Pack != DefaultPack && !slices.Contains(m.decl.Jurisdictions, e.in.Facts.Jurisdiction) {
			continue
		}
		cleared, once := e.in.Facts.Cleared[m.decl.Group]
		values, state := e.readMarker(m, room[:0])
		if once && e.in.Now.Sub(cleared) < time.Duration(e.p.signs.AfterClearing) {
			state = no // a person has just cleared the group
		}
		found := Marker{ID: m.decl.ID, Version: m.decl.Version, Group: m.decl.Group, Strength: m.decl.Strength}
		if state == yes {
			found.At, found.Text = e.in.Now, e.markerText(m, values)
		} else {
			at, ok := e.in.Contacts.raised(m.code)
			if !ok || e.in.Now.Sub(at) >= time.Duration(m.decl.Holds) || once && cleared.After(at) {
				e.scope.uncertain = e.scope.uncertain || state == doubt
				continue
			}
			found.At, found.Text = at, m.decl.Doc+" (seen on "+at.Format("2 January 15:04 UTC")+")"
		}
		e.markers = append(e.markers, found)
	}
	e.scope.markers = e.markers
}

// readMarker evaluates a marker and, if it is raised, appends its readings to values.
func (e *evaluation) readMarker(m *marker, values []float64) ([]float64, truth) {
	for i := range m.reads {
		r := &m.reads[i]
		var v float64
		var known bool
		if r.feature >= 0 {
			v, known = e.in.feature(e.p.lang.featureNames, r.feature)
		} else {
			v, known = r.expr.number(e.scope)
		}
		if !known {
			return nil, doubt
		}
		if v < e.threshold(r) {
			return nil, no
		}
		values = append(values, v)
	}
	if m.unless != nil && m.unless.truth(e.scope) == yes {
		return nil, no
	}
	return values, yes
}

func (e *evaluation) threshold(r *markerRead) float64 {
	if units, ok := e.p.signs.Currencies[e.in.Facts.Currency]; ok && r.Money {
		return r.AtLeast * units
	}
	return r.AtLeast
}

// markerText fills the readings into the marker's text.
func (e *evaluation) markerText(m *marker, values []float64) string {
	text := m.decl.Text
	for i, r := range m.reads {
		shown := strconv.FormatFloat(math.Round(values[i]*10)/10, 'f', -1, 64)
		if r.Money {
			shown = strings.TrimSpace(fmt.Sprintf("%.2f %s", values[i]/100, e.in.Facts.Currency))
		}
		text = strings.ReplaceAll(text, "{"+r.name+"}", shown)
	}
	return text
}

// raised returns when a marker was last seen.
func (c *Contacts) raised(code uint32) (time.Time, bool) {
	for _, r := range c.Raised {
		if r.Code == code {
			return r.At, true
		}
	}
	return time.Time{}, false
}

// see records the markers that hold at a decision made now.
func (c *Contacts) see(markers []Marker, now time.Time) {
	for _, m := range markers {
		code := ActionCode(m.ID)
		if n := slices.IndexFunc(c.Raised, func(r Raised) bool { return r.Code == code }); n < 0 {
			c.Raised = append(c.Raised, Raised{code, m.At})
		} else {
			c.Raised[n].At = m.At
		}
	}
	c.Raised = slices.DeleteFunc(c.Raised, func(r Raised) bool { return now.Sub(r.At) > contactsFor })
}

// markerIDs returns the ids of markers.
func markerIDs(markers []Marker) []string {
	out := make([]string, len(markers))
	for i, m := range markers {
		out[i] = m.ID
	}
	return out
}

// Markers lists the markers as they were declared.
func (p *Policy) Markers() []MarkerDecl { return p.signs.Markers }
