package event

import (
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// reader is a fast path for JSON that another of Pitboss's functions wrote with a [Writer]:
// members in the order of the Writer, no spaces, no escapes. Any other JSON, valid or not, is
// left to json.Unmarshal, which takes two to three times as long and defines the result
// (TestDecodeEqualsUnmarshal).
//
// It reads from a string, so that the strings in it need no memory of their own. A string that
// is kept for long keeps the whole event in memory, so it should be cloned.
type reader struct {
	b    string
	open bool // an object or array has just begun
	bad  bool // the JSON has another form
}

// take skips c, which must be next.
func (r *reader) take(c byte) {
	if !r.skip(c) {
		r.bad = true
	}
}

// skip skips c if it is next, and reports whether it was.
func (r *reader) skip(c byte) bool {
	if r.bad || len(r.b) == 0 || r.b[0] != c {
		return false
	}
	r.b, r.open = r.b[1:], c == '{' || c == '['
	return true
}

// member skips the next member's name if it is that name, and reports whether it was.
func (r *reader) member(name string) bool {
	b := r.b
	if !r.open {
		if len(b) == 0 || b[0] != ',' {
			return false
		}
		b = b[1:]
	}
	n := len(name)
	if r.bad || len(b) < n+3 || b[0] != '"' || b[1:n+1] != name || b[n+1] != '"' || b[n+2] != ':' {
		return false
	}
	r.b, r.open = b[n+3:], false
	return true
}

// text reads a string.
func (r *reader) text() string {
	r.take('"')
	n := 0
	for n < len(r.b) && plain[r.b[n]] {
		n++
	}
	if r.bad || n == len(r.b) || r.b[n] != '"' {
		r.bad = true
		return ""
	}
	s := r.b[:n]
	r.b = r.b[n+1:]
	return s
}

// plain marks the bytes that a string contains without escapes.
var plain = func() (t [256]bool) {
	for c := byte(' '); c < 0x7f; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

func (r *reader) string(s *string) { *s = r.text() }

func (r *reader) time(t *time.Time) {
	s := r.text()
	if n := len(s); n < 20 || n > 30 || s[n-1] != 'Z' || s[19] != '.' && s[19] != 'Z' { // times with an offset are left to json.Unmarshal
		r.bad = true
		return
	}
	var err error
	if *t, err = time.Parse(time.RFC3339Nano, s); err != nil {
		r.bad = true
	}
}

func (r *reader) bool(v *bool) {
	switch {
	case strings.HasPrefix(r.b, "true"):
		*v, r.b = true, r.b[4:]
	case strings.HasPrefix(r.b, "false"):
		*v, r.b = false, r.b[5:]
	default:
		r.bad = true
	}
}

// number reads the text of a number (RFC 8259, section 6).
func (r *reader) number() string {
	b := r.b
	n := 0
	if len(b) > 0 && b[0] == '-' {
		n++
	}
	whole := digits(b[n:])
	ok := whole > 0 && (whole == 1 || b[n] != '0')
	if n += whole; ok && n < len(b) && b[n] == '.' {
		fraction := digits(b[n+1:])
		ok = fraction > 0
		n += 1 + fraction
	}
	if ok && n < len(b) && b[n]|0x20 == 'e' {
		if n++; n < len(b) && (b[n] == '+' || b[n] == '-') {
			n++
		}
		exponent := digits(b[n:])
		ok = exponent > 0
		n += exponent
	}
	if r.bad || !ok {
		r.bad = true
		return ""
	}
	r.b = b[n:]
	return b[:n]
}

func digits(b string) (n int) {
	for n < len(b) && b[n]-'0' < 10 {
		n++
	}
	return n
}

func (r *reader) float(v *float64) {
	var err error
	if *v, err = strconv.ParseFloat(r.number(), 64); err != nil {
		r.bad = true
	}
}

func (r *reader) integer(v *int64) {
	var err error
	if *v, err = strconv.ParseInt(r.number(), 10, 64); err != nil {
		r.bad = true
	}
}

// numbers reads the text of an object whose members are all numbers.
func (r *reader) numbers(v *jsontext.Value) {
	all := r.b
	r.take('{')
	for first := true; !r.bad && !r.skip('}'); first = false {
		if !first {
			r.take(',')
		}
		r.text()
		r.take(':')
		r.number()
	}
	if !r.bad {
		*v = jsontext.Value(all[:len(all)-len(r.b)])
	}
}

// The following read a member if it is next. Their names are those of the Writer's methods.

func (r *reader) str(name string, s *string) {
	if r.member(name) {
		r.string(s)
	}
}

func (r *reader) num(name string, x *float64) {
	if r.member(name) {
		r.float(x)
	}
}

func (r *reader) at(name string, t *time.Time) {
	if r.member(name) {
		r.time(t)
	}
}

func (r *reader) optTrue(name string, b *bool) {
	if r.member(name) {
		r.bool(b)
	}
}

func readList[T any](r *reader, name string, list *[]T, each func(*reader, *T)) {
	if !r.member(name) {
		return
	}
	r.take('[')
	*list = make([]T, 0, 4)
	for first := true; !r.bad && !r.skip(']'); first = false {
		if !first {
			r.take(',')
		}
		*list = append(*list, *new(T))
		each(r, &(*list)[len(*list)-1])
	}
}

func readMap[T any](r *reader, name string, m *map[string]T, each func(*reader, *T)) {
	if !r.member(name) {
		return
	}
	r.take('{')
	*m = map[string]T{}
	for first := true; !r.bad && !r.skip('}'); first = false {
		if !first {
			r.take(',')
		}
		key := r.text()
		r.take(':')
		var v T
		each(r, &v)
		if _, twice := (*m)[key]; twice {
			r.bad = true
		}
		(*m)[key] = v
	}
}

// read reads the data of a player.scored. If it returns false, s is undefined and the data must
// be read by json.Unmarshal.
func (s *PlayerScored) read(data []byte) bool {
	r := &reader{b: string(data)}
	r.take('{')
	s.PlayerUpdated.readMembers(r)
	readMap(r, "scores", &s.Scores, (*reader).float)
	readList(r, "models", &s.Models, readRun)
	readList(r, "ranking", &s.Ranking, readRanked)
	r.take('}')
	return !r.bad && len(r.b) == 0
}

// read is like [PlayerScored]'s read, for the data of a player.updated.
func (u *PlayerUpdated) read(data []byte) bool {
	r := &reader{b: string(data)}
	r.take('{')
	u.readMembers(r)
	r.take('}')
	return !r.bad && len(r.b) == 0
}

func (u *PlayerUpdated) readMembers(r *reader) {
	r.str("version", &u.Version)
	r.at("as_of", &u.AsOf)
	if r.member("trigger") {
		u.Trigger.read(r)
	}
	readList(r, "due", &u.Due, (*reader).string)
	if r.member("features") {
		r.numbers(&u.Features)
	}
	r.str("feature_set", &u.FeatureSet)
	if r.member("facts") {
		u.Facts.read(r)
	}
}

func (t *Trigger) read(r *reader) {
	r.take('{')
	r.str("type", &t.Type)
	r.str("source", &t.Source)
	r.str("id", &t.ID)
	r.at("time", &t.Time)
	r.take('}')
}

func (f *Facts) read(r *reader) {
	r.take('{')
	r.str("jurisdiction", &f.Jurisdiction)
	r.str("birth_date", &f.BirthDate)
	r.str("brand", &f.Brand)
	r.str("currency", &f.Currency)
	r.str("tier", &f.Tier)
	r.str("time_zone", &f.TimeZone)
	readMap(r, "consents", &f.Consents, (*reader).bool)
	readList(r, "exclusions", &f.Exclusions, readExclusion)
	readMap(r, "limits", &f.Limits, readLimit)
	readMap(r, "origins", &f.Origins, (*reader).string)
	readMap(r, "given", &f.Given, (*reader).time)
	readMap(r, "indicators", &f.Indicators, (*reader).string)
	readMap(r, "cleared", &f.Cleared, (*reader).time)
	r.at("returned", &f.Returned)
	r.str("licensee", &f.Licensee)
	r.str("affordability", &f.Affordability)
	r.str("last_product", &f.LastProduct)
	r.str("last_category", &f.LastCategory)
	r.optTrue("bonus_ever", &f.BonusEver)
	r.str("last_game", &f.LastGame)
	r.str("failed_game", &f.FailedGame)
	readList(r, "recent_games", &f.RecentGames, (*reader).string)
	r.take('}')
}

func readExclusion(r *reader, e *Exclusion) {
	r.take('{')
	r.str("scheme", &e.Scheme)
	r.at("since", &e.Since)
	r.at("until", &e.Until)
	r.take('}')
}

func readLimit(r *reader, l *Limit) {
	r.take('{')
	if r.member("amount") {
		r.integer(&l.Amount)
	}
	r.str("currency", &l.Currency)
	r.at("reached", &l.Reached)
	r.str("basis", &l.Basis)
	r.take('}')
}

func readRanked(r *reader, v *Ranked) {
	r.take('{')
	r.str("item", &v.Item)
	r.num("score", &v.Score)
	r.take('}')
}

func readRun(r *reader, m *ModelRun) {
	r.take('{')
	r.str("name", &m.Name)
	r.str("version", &m.Version)
	r.str("sha256", &m.SHA256)
	r.str("output", &m.Output)
	r.num("score", &m.Score)
	r.optTrue("shadow", &m.Shadow)
	if r.member("calibrated") {
		m.Calibrated = &Calibrated{}
		m.Calibrated.read(r)
	}
	r.str("outside", &m.Outside)
	r.optTrue("too_new", &m.TooNew)
	readList(r, "contributions", &m.Contributions, readContribution)
	r.take('}')
}

func (c *Calibrated) read(r *reader) {
	r.take('{')
	r.num("raw", &c.Raw)
	r.num("slope", &c.Slope)
	r.num("offset", &c.Offset)
	r.take('}')
}

func readContribution(r *reader, c *Contribution) {
	r.take('{')
	r.str("feature", &c.Feature)
	r.num("value", &c.Value)
	r.num("effect", &c.Effect)
	r.num("error", &c.Error)
	r.take('}')
}
