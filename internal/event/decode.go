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

// reader reads JSON in the form that a Writer writes. It reads from a string, so that the
// strings in it need no memory of their own. A string that is kept for long keeps the whole
// event in memory, so it should be cloned.
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

func (r *reader) str(s *string) { *s = r.text() }

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

func (r *reader) isTrue(v *bool) {
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

func (r *reader) num(v *float64) {
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

func readList[T any](r *reader, list *[]T, each func(*reader, *T)) {
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

func readMap[T any](r *reader, m *map[string]T, each func(*reader, *T)) {
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
	if r.member("scores") {
		readMap(r, &s.Scores, (*reader).num)
	}
	if r.member("models") {
		readList(r, &s.Models, readRun)
	}
	if r.member("ranking") {
		readList(r, &s.Ranking, func(r *reader, v *Ranked) {
			r.take('{')
			if r.member("item") {
				r.str(&v.Item)
			}
			if r.member("score") {
				r.num(&v.Score)
			}
			r.take('}')
		})
	}
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
	if r.member("version") {
		r.str(&u.Version)
	}
	if r.member("as_of") {
		r.time(&u.AsOf)
	}
	if r.member("trigger") {
		u.Trigger.read(r)
	}
	if r.member("due") {
		readList(r, &u.Due, (*reader).str)
	}
	if r.member("features") {
		r.numbers(&u.Features)
	}
	if r.member("feature_set") {
		r.str(&u.FeatureSet)
	}
	if r.member("facts") {
		u.Facts.read(r)
	}
}

func (t *Trigger) read(r *reader) {
	r.take('{')
	if r.member("type") {
		r.str(&t.Type)
	}
	if r.member("source") {
		r.str(&t.Source)
	}
	if r.member("id") {
		r.str(&t.ID)
	}
	if r.member("time") {
		r.time(&t.Time)
	}
	r.take('}')
}

func (f *Facts) read(r *reader) {
	r.take('{')
	r.strings([]member{{"jurisdiction", &f.Jurisdiction}, {"birth_date", &f.BirthDate}, {"brand", &f.Brand},
		{"currency", &f.Currency}, {"tier", &f.Tier}, {"time_zone", &f.TimeZone}})
	if r.member("consents") {
		readMap(r, &f.Consents, (*reader).isTrue)
	}
	if r.member("exclusions") {
		readList(r, &f.Exclusions, readExclusion)
	}
	if r.member("limits") {
		readMap(r, &f.Limits, readLimit)
	}
	if r.member("origins") {
		readMap(r, &f.Origins, (*reader).str)
	}
	if r.member("given") {
		readMap(r, &f.Given, (*reader).time)
	}
	if r.member("indicators") {
		readMap(r, &f.Indicators, (*reader).str)
	}
	if r.member("cleared") {
		readMap(r, &f.Cleared, (*reader).time)
	}
	if r.member("returned") {
		r.time(&f.Returned)
	}
	r.strings([]member{{"licensee", &f.Licensee}, {"affordability", &f.Affordability},
		{"last_product", &f.LastProduct}, {"last_category", &f.LastCategory}})
	if r.member("bonus_ever") {
		r.isTrue(&f.BonusEver)
	}
	if r.member("last_game") {
		r.str(&f.LastGame)
	}
	if r.member("failed_game") {
		r.str(&f.FailedGame)
	}
	if r.member("recent_games") {
		readList(r, &f.RecentGames, (*reader).str)
	}
	r.take('}')
}

// member is an optional string member of an object.
type member struct {
	name string
	v    *string
}

func (r *reader) strings(members []member) {
	for _, m := range members {
		if r.member(m.name) {
			r.str(m.v)
		}
	}
}

func readExclusion(r *reader, e *Exclusion) {
	r.take('{')
	if r.member("scheme") {
		r.str(&e.Scheme)
	}
	if r.member("since") {
		r.time(&e.Since)
	}
	if r.member("until") {
		r.time(&e.Until)
	}
	r.take('}')
}

func readLimit(r *reader, l *Limit) {
	r.take('{')
	if r.member("amount") {
		r.integer(&l.Amount)
	}
	if r.member("currency") {
		r.str(&l.Currency)
	}
	if r.member("reached") {
		r.time(&l.Reached)
	}
	if r.member("basis") {
		r.str(&l.Basis)
	}
	r.take('}')
}

func readCalibrated(r *reader, c *Calibrated) {
	r.take('{')
	if r.member("raw") {
		r.num(&c.Raw)
	}
	if r.member("slope") {
		r.num(&c.Slope)
	}
	if r.member("offset") {
		r.num(&c.Offset)
	}
	r.take('}')
}

func readRun(r *reader, m *ModelRun) {
	r.take('{')
	if r.member("name") {
		r.str(&m.Name)
	}
	if r.member("version") {
		r.str(&m.Version)
	}
	if r.member("sha256") {
		r.str(&m.SHA256)
	}
	if r.member("output") {
		r.str(&m.Output)
	}
	if r.member("score") {
		r.num(&m.Score)
	}
	if r.member("shadow") {
		r.isTrue(&m.Shadow)
	}
	if r.member("calibrated") {
		m.Calibrated = &Calibrated{}
		readCalibrated(r, m.Calibrated)
	}
	if r.member("outside") {
		r.str(&m.Outside)
	}
	if r.member("too_new") {
		r.isTrue(&m.TooNew)
	}
	if r.member("contributions") {
		readList(r, &m.Contributions, func(r *reader, c *Contribution) {
			r.take('{')
			if r.member("feature") {
				r.str(&c.Feature)
			}
			if r.member("value") {
				r.num(&c.Value)
			}
			if r.member("effect") {
				r.num(&c.Effect)
			}
			if r.member("error") {
				r.num(&c.Error)
			}
			r.take('}')
		})
	}
	r.take('}')
}
