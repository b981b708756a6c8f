package event

import (
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// The events between Pitboss's own functions are encoded by hand: there are several for each
// incoming event, and reflection takes several times as long. The result must equal
// json.Marshal's (TestEncodeEqualsMarshal); a field that is added to a type but not here fails
// that test.

// Writer appends JSON to a slice.
type Writer []byte

// Begin opens an object or array: '{' or '['.
func (w *Writer) Begin(c byte) { *w = append(*w, c) }

// End closes it.
func (w *Writer) End(c byte) { *w = append(*w, c) }

// Next writes a comma if an element precedes the next one.
func (w *Writer) Next() {
	if last := (*w)[len(*w)-1]; last != '{' && last != '[' && last != ':' {
		*w = append(*w, ',')
	}
}

// Name writes a member's name, which must need no escapes.
func (w *Writer) Name(name string) {
	w.Next()
	*w = append(*w, '"')
	*w = append(*w, name...)
	*w = append(*w, '"', ':')
}

// Quote writes a string value.
func (w *Writer) Quote(s string) {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			out, _ := jsontext.AppendQuote(*w, s) // never fails: invalid UTF-8 is replaced
			*w = out
			return
		}
	}
	*w = append(*w, '"')
	*w = append(*w, s...)
	*w = append(*w, '"')
}

// Number writes a finite number, so that it reads back to the same bits.
func (w *Writer) Number(x float64) {
	switch abs := math.Abs(x); {
	case x == math.Trunc(x) && abs < 1<<53 && (x != 0 || !math.Signbit(x)):
		*w = strconv.AppendInt(*w, int64(x), 10)
	case abs != 0 && (abs < 1e-6 || abs >= 1e21):
		*w = strconv.AppendFloat(*w, x, 'e', -1, 64)
		if n := len(*w); (*w)[n-4] == 'e' && (*w)[n-2] == '0' { // e-09 becomes e-9, as in ECMAScript
			(*w)[n-2] = (*w)[n-1]
			*w = (*w)[:n-1]
		}
	default:
		*w = strconv.AppendFloat(*w, x, 'f', -1, 64)
	}
}

// Time writes a time, RFC 3339.
func (w *Writer) Time(t time.Time) {
	*w = append(*w, '"')
	*w = t.AppendFormat(*w, time.RFC3339Nano)
	*w = append(*w, '"')
}

// Str writes a member with a string. The methods whose names begin with Opt write nothing for
// a zero value.
func (w *Writer) Str(name, s string) {
	w.Name(name)
	w.Quote(s)
}

// OptStr is Str, unless s is empty.
func (w *Writer) OptStr(name, s string) {
	if s != "" {
		w.Str(name, s)
	}
}

// Num writes a member with a number.
func (w *Writer) Num(name string, x float64) {
	w.Name(name)
	w.Number(x)
}

// OptNum is Num, unless x is 0.
func (w *Writer) OptNum(name string, x float64) {
	if x != 0 {
		w.Num(name, x)
	}
}

// At writes a member with a time.
func (w *Writer) At(name string, t time.Time) {
	w.Name(name)
	w.Time(t)
}

// OptAt is At, unless t is zero.
func (w *Writer) OptAt(name string, t time.Time) {
	if !t.IsZero() {
		w.At(name, t)
	}
}

// Bool writes a member with true or false.
func (w *Writer) Bool(name string, b bool) {
	w.Name(name)
	*w = strconv.AppendBool(*w, b)
}

// OptTrue writes a member that is true, or nothing.
func (w *Writer) OptTrue(name string, b bool) {
	if b {
		w.Name(name)
		*w = append(*w, "true"...)
	}
}

// Raw writes a member whose value is JSON already. nil becomes null.
func (w *Writer) Raw(name string, v []byte) {
	w.Name(name)
	if v == nil {
		v = []byte("null")
	}
	*w = append(*w, v...)
}

// List writes a member with an array.
func List[T any](w *Writer, name string, list []T, each func(*Writer, *T)) {
	w.Name(name)
	w.Begin('[')
	for i := range list {
		w.Next()
		each(w, &list[i])
	}
	w.End(']')
}

// OptList is List, unless the list is empty.
func OptList[T any](w *Writer, name string, list []T, each func(*Writer, *T)) {
	if len(list) > 0 {
		List(w, name, list, each)
	}
}

// QuoteEach writes an element of a list of strings.
func QuoteEach(w *Writer, s *string) { w.Quote(*s) }

// Map writes a member with an object whose names are sorted.
func Map[T any](w *Writer, name string, m map[string]T, each func(*Writer, T)) {
	w.Name(name)
	w.Begin('{')
	var few [8]string
	names := few[:0]
	for k := range m {
		names = append(names, k)
	}
	slices.Sort(names)
	for _, k := range names {
		w.Next()
		w.Quote(k)
		*w = append(*w, ':')
		each(w, m[k])
	}
	w.End('}')
}

// OptMap is Map, unless the map is empty.
func OptMap[T any](w *Writer, name string, m map[string]T, each func(*Writer, T)) {
	if len(m) > 0 {
		Map(w, name, m, each)
	}
}

// appender is a type that is written by hand.
type appender interface{ AppendJSON(dst []byte) []byte }

// marshal is json.Marshal with a fast path for the types that are encoded by hand.
func marshal(data any) ([]byte, error) {
	switch v := data.(type) {
	case *PlayerUpdated:
		return v.AppendJSON(make([]byte, 0, len(v.Features)+1536)), nil
	case appender:
		return v.AppendJSON(make([]byte, 0, 2048)), nil
	case jsontext.Value:
		return v, nil
	}
	return json.Marshal(data, replying)
}

// AppendJSON appends u.
func (u *PlayerUpdated) AppendJSON(dst []byte) []byte {
	w := Writer(dst)
	w.Begin('{')
	u.members(&w)
	w.End('}')
	return w
}

func (u *PlayerUpdated) members(w *Writer) {
	w.Str("version", u.Version)
	w.At("as_of", u.AsOf)
	u.Trigger.Write(w, "trigger")
	List(w, "due", u.Due, QuoteEach)
	w.Raw("features", u.Features)
	w.Str("feature_set", u.FeatureSet)
	u.Facts.Write(w, "facts")
}

// Write writes t as a member.
func (t *Trigger) Write(w *Writer, name string) {
	w.Name(name)
	w.Begin('{')
	w.Str("type", t.Type)
	w.Str("source", t.Source)
	w.Str("id", t.ID)
	w.At("time", t.Time)
	w.End('}')
}

// Write writes f as a member.
func (f *Facts) Write(w *Writer, name string) {
	w.Name(name)
	w.Begin('{')
	w.OptStr("jurisdiction", f.Jurisdiction)
	w.OptStr("birth_date", f.BirthDate)
	w.OptStr("brand", f.Brand)
	w.OptStr("currency", f.Currency)
	w.OptStr("tier", f.Tier)
	w.OptStr("time_zone", f.TimeZone)
	OptMap(w, "consents", f.Consents, func(w *Writer, granted bool) { *w = strconv.AppendBool(*w, granted) })
	OptList(w, "exclusions", f.Exclusions, WriteExclusion)
	OptMap(w, "limits", f.Limits, func(w *Writer, l Limit) {
		w.Begin('{')
		w.Name("amount")
		*w = strconv.AppendInt(*w, l.Amount, 10)
		w.OptStr("currency", l.Currency)
		w.OptAt("reached", l.Reached)
		w.OptStr("basis", l.Basis)
		w.End('}')
	})
	OptMap(w, "origins", f.Origins, func(w *Writer, s string) { w.Quote(s) })
	OptMap(w, "given", f.Given, (*Writer).Time)
	OptMap(w, "indicators", f.Indicators, func(w *Writer, s string) { w.Quote(s) })
	OptMap(w, "cleared", f.Cleared, (*Writer).Time)
	w.OptAt("returned", f.Returned)
	w.OptStr("licensee", f.Licensee)
	w.OptStr("affordability", f.Affordability)
	w.OptStr("last_product", f.LastProduct)
	w.OptStr("last_category", f.LastCategory)
	w.OptTrue("bonus_ever", f.BonusEver)
	w.OptStr("last_game", f.LastGame)
	w.OptStr("failed_game", f.FailedGame)
	OptList(w, "recent_games", f.RecentGames, QuoteEach)
	w.End('}')
}

// AppendJSON appends s.
func (s *PlayerScored) AppendJSON(dst []byte) []byte {
	w := Writer(dst)
	w.Begin('{')
	s.members(&w)
	s.scores(&w)
	w.End('}')
	return w
}

// AppendTo is like AppendJSON, but takes the PlayerUpdated from data, so that a scorer need not
// decode and encode it again. See [ReadUpdated].
func (s *PlayerScored) AppendTo(data []byte) jsontext.Value {
	w := append(make(Writer, 0, len(data)+1536), data[:len(data)-1]...)
	s.scores(&w)
	w.End('}')
	return jsontext.Value(w)
}

func (s *PlayerScored) scores(w *Writer) {
	Map(w, "scores", s.Scores, (*Writer).Number)
	List(w, "models", s.Models, WriteRun)
	OptList(w, "ranking", s.Ranking, WriteRanked)
}

// WriteModel writes the members that identify the model.
func (m *ModelRun) WriteModel(w *Writer) {
	w.Str("name", m.Name)
	w.Str("version", m.Version)
	w.Str("sha256", m.SHA256)
	w.Str("output", m.Output)
}

// WriteRun writes a model run.
func WriteRun(w *Writer, m *ModelRun) {
	w.Begin('{')
	m.WriteModel(w)
	w.Num("score", m.Score)
	w.OptTrue("shadow", m.Shadow)
	if c := m.Calibrated; c != nil {
		w.Name("calibrated")
		w.Begin('{')
		w.Num("raw", c.Raw)
		w.Num("slope", c.Slope)
		w.Num("offset", c.Offset)
		w.End('}')
	}
	w.OptStr("outside", m.Outside)
	w.OptTrue("too_new", m.TooNew)
	OptList(w, "contributions", m.Contributions, func(w *Writer, c *Contribution) {
		w.Begin('{')
		w.Str("feature", c.Feature)
		w.Num("value", c.Value)
		w.Num("effect", c.Effect)
		w.OptNum("error", c.Error)
		w.End('}')
	})
	w.End('}')
}

// WriteExclusion writes an exclusion.
func WriteExclusion(w *Writer, e *Exclusion) {
	w.Begin('{')
	w.Str("scheme", e.Scheme)
	w.At("since", e.Since)
	w.OptAt("until", e.Until)
	w.End('}')
}

// WriteRanked writes an item of a ranking.
func WriteRanked(w *Writer, r *Ranked) {
	w.Begin('{')
	w.Str("item", r.Item)
	w.Num("score", r.Score)
	w.End('}')
}

// WriteReason writes a reason.
func WriteReason(w *Writer, r *Reason) {
	w.Begin('{')
	w.Str("code", r.Code)
	w.Str("text", r.Text)
	w.End('}')
}

// WriteBlocked writes a blocked action.
func WriteBlocked(w *Writer, b *Blocked) {
	w.Begin('{')
	w.Str("action", b.Action)
	w.Str("rule", b.Rule)
	w.Str("text", b.Text)
	w.End('}')
}

// WriteParams writes the parameters of a message, which may have any type.
func WriteParams(w *Writer, name string, params map[string]any) {
	OptMap(w, name, params, func(w *Writer, v any) {
		switch v := v.(type) {
		case string:
			w.Quote(v)
		case float64:
			w.Number(v)
		default:
			b, err := json.Marshal(v, replying)
			if err != nil { // the policy's loader accepts no such parameter
				b = []byte("null")
			}
			*w = append(*w, b...)
		}
	})
}

// AppendJSON appends r.
func (r *Recommendation) AppendJSON(dst []byte) []byte {
	w := Writer(dst)
	w.Begin('{')
	w.Str("decision", r.Decision)
	w.Str("action", r.Action)
	w.Str("kind", r.Kind)
	w.OptStr("channel", r.Channel)
	w.OptStr("severity", r.Severity)
	w.OptStr("message", r.Message)
	WriteParams(&w, "params", r.Params)
	List(&w, "reasons", r.Reasons, WriteReason)
	OptList(&w, "blocked", r.Blocked, WriteBlocked)
	OptMap(&w, "scores", r.Scores, (*Writer).Number)
	w.OptStr("arm", r.Arm)
	w.OptNum("propensity", r.Propensity)
	w.Str("dedup_key", r.DedupKey)
	w.At("decided_at", r.DecidedAt)
	w.OptAt("expires", r.Expires)
	r.Trigger.Write(&w, "trigger")
	OptList(&w, "revoked", r.Revoked, QuoteEach)
	w.OptTrue("review", r.Review)
	w.End('}')
	return w
}
