package event

import (
	"bytes"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// The limits of an event. A larger one is refused, never truncated.
const (
	MaxData      = 64 << 10 // bytes of data
	MaxDepth     = 16       // nesting of the data's JSON
	MaxAttribute = 256      // bytes of id, source and subject
	// MaxAttributes bounds all attributes together, in bytes of HTTP headers. Kafka's Broker
	// class accepts 8 KiB of headers, which leaves room for what ingest and the hops add.
	MaxAttributes = 6 << 10
	// MaxSkew is how far ahead of the receiver's clock an event's time may be.
	MaxSkew = 5 * time.Minute
)

// maxClocks is how far another machine's clock may be ahead and still be trusted.
const maxClocks = time.Hour

// Clock returns the time by which a function behind the Broker judges whether an event is in
// the future: the later of its own clock and the time of receipt from the platform (ingest's
// receivedtime, or the Broker's knativearrivaltime). Otherwise a function whose clock is behind
// would refuse for good an event that ingest accepted.
func Clock(e *ce.Event, now time.Time) time.Time {
	latest := now
	if !e.Time().After(now.Add(MaxSkew)) {
		return latest
	}
	exts := extensions(e)
	for _, name := range [...]string{ExtReceived, extArrival} {
		at, err := types.ToTime(exts[name])
		if err == nil && at.After(latest) && !at.After(now.Add(maxClocks)) {
			latest = at
		}
	}
	return latest
}

// Parse checks a CloudEvent against the contract and decodes its data. now is
// the receiver's clock: see [Clock]. The error is a [*Problem] that names the field.
func Parse(e *ce.Event, now time.Time) (*Record, error) {
	r, err := Check(e, now)
	if err != nil {
		return nil, err
	}
	if r.Data, err = r.Info.read(e.Data()); err != nil {
		return nil, err
	}
	return r, nil
}

// read decodes the data of an event of this type.
func (i *Info) read(body []byte) (data any, err error) {
	if i.Type == TypePlayerScored {
		if s := new(PlayerScored); s.read(body) {
			return s, nil
		}
	}
	data = reflect.New(i.goType).Interface()
	if i.Flat() {
		return data, i.decode(body, data)
	}
	if err := json.Unmarshal(body, data, jsontext.AllowDuplicateNames(true)); err != nil { // Pitboss wrote it: it has no duplicates
		return nil, problemf(CodeSchemaViolation, "/data", "%v", err)
	}
	return data, nil
}

// Check is Parse without decoding the data. Of the data it only checks size and depth.
func Check(e *ce.Event, now time.Time) (*Record, error) {
	info, ok := Lookup(e.Type())
	source := Source(e)
	switch {
	case !ok:
		return nil, problemf(CodeUnknownType, "/type", "type %q is not in the event catalogue", clip(e.Type()))
	case e.Subject() == "":
		return nil, problemf(CodeNoSubject, "/subject", "subject must be the player id")
	case e.Time().IsZero():
		return nil, problemf(CodeNoTime, "/time", "time must say when it happened (RFC 3339)")
	case e.Time().Before(earliest):
		return nil, problemf(CodeSchemaViolation, "/time", "time must be of the year %d or later, is %s", minYear, e.Time().Format(time.RFC3339))
	case e.Time().After(now.Add(MaxSkew)):
		return nil, problemf(CodeFutureTime, "/time", "time is %s ahead of the receiver's clock; at most %s is allowed",
			e.Time().Sub(now).Round(time.Second), MaxSkew)
	case len(e.Data()) > MaxData:
		return nil, problemf(CodeTooLarge, "/data", "data must have at most %d bytes, has %d", MaxData, len(e.Data()))
	}
	for _, a := range [...][2]string{{"id", e.ID()}, {"source", source}, {"subject", e.Subject()}} {
		if wrong := wrongName(a[1]); wrong != "" {
			return nil, problemf(CodeSchemaViolation, "/"+a[0], "%s %s", a[0], wrong)
		}
	}
	if ct := e.DataContentType(); !isJSON(ct) {
		return nil, problemf(CodeSchemaViolation, "/datacontenttype", "datacontenttype must be application/json, in UTF-8, is %q", clip(ct))
	}
	if err := checkSize(e); err != nil {
		return nil, err
	}
	// Pitboss's own events are not deep, and readers skip their unknown members without recursion.
	if info.Direction == In && jsonDepth(e.Data()) > MaxDepth {
		return nil, problemf(CodeTooDeep, "/data", "data is nested deeper than %d levels", MaxDepth)
	}
	return &Record{ID: e.ID(), Source: source, Type: e.Type(), Subject: e.Subject(), Time: e.Time(), Info: info}, nil
}

// ReadUpdated reads a player.updated's data for a scorer. It checks that [PlayerScored.AppendTo]
// can append to the data: that they are a JSON object without the members of a player.scored.
func ReadUpdated(data []byte) (u PlayerUpdated, err error) {
	if u.read(data) {
		return u, nil
	}
	var whole struct {
		PlayerUpdated
		Scores  jsontext.Value `json:"scores"`
		Models  jsontext.Value `json:"models"`
		Ranking jsontext.Value `json:"ranking"`
	}
	if err := json.Unmarshal(data, &whole, jsontext.AllowDuplicateNames(true)); err != nil { // Pitboss wrote it: it has no duplicates
		return u, problemf(CodeSchemaViolation, "/data", "%v", err)
	}
	switch {
	case data[len(data)-1] != '}':
		return u, problemf(CodeSchemaViolation, "/data", "data must be a JSON object, and nothing may follow it")
	case whole.Scores != nil || whole.Models != nil || whole.Ranking != nil:
		return u, problemf(CodeSchemaViolation, "/data", "scores, models and ranking are for player.scored")
	}
	return whole.PlayerUpdated, nil
}

// NextFeature reads the next member of features in the form that feature.Set.AppendJSON
// writes: an object of plain numbers, without spaces and escapes. rest begins with the
// character after the number: ',', or '}' after the last one. ok is false for any other form,
// which needs a JSON decoder at ten times the cost.
func NextFeature(b []byte) (name, number, rest []byte, ok bool) {
	if len(b) < 2 || b[0] != '{' && b[0] != ',' || b[1] != '"' {
		return nil, nil, nil, false
	}
	n := bytes.IndexByte(b[2:], '"') + 2
	if n < 2 || n+2 >= len(b) || b[n+1] != ':' || b[n+2] != '-' && b[n+2]-'0' > 9 {
		return nil, nil, nil, false
	}
	end := n + 2
	for end < len(b) && (b[end]-'0' < 10 || b[end] == '.' || b[end] == '-' || b[end] == '+' || b[end] == 'e') {
		end++
	}
	if end == len(b) || end == n+2 || b[end] != ',' && b[end] != '}' {
		return nil, nil, nil, false
	}
	return b[2:n], b[n+2 : end], b[end:], true
}

// Decode unmarshals the data of one of Pitboss's own events into T. An error is permanent.
func Decode[T any](e *ce.Event) (*T, error) {
	v := new(T)
	if err := json.Unmarshal(e.Data(), v); err != nil {
		return nil, problemf(CodeSchemaViolation, "/data", "%s: %v", e.Type(), err)
	}
	return v, nil
}

var decoders = sync.Pool{New: func() any { return new(pooled) }}

type pooled struct {
	dec jsontext.Decoder
	buf bytes.Buffer
}

// decode reads a flat object into the Go struct and checks each member, in one pass, because it
// runs for every event.
func (i *Info) decode(body []byte, data any) error {
	p := decoders.Get().(*pooled)
	defer decoders.Put(p)
	p.buf = *bytes.NewBuffer(body)
	p.dec.Reset(&p.buf)

	if tok, err := p.dec.ReadToken(); err != nil {
		return syntaxProblem(&p.dec, err)
	} else if tok.Kind() != '{' {
		return problemf(CodeSchemaViolation, "/data", "data must be a JSON object")
	}
	var seen uint64
	for p.dec.PeekKind() != '}' {
		name, err := p.dec.ReadValue()
		if err != nil {
			return syntaxProblem(&p.dec, err)
		}
		if bytes.IndexByte(name, '\\') >= 0 { // RFC 8259, section 8.3: a name with escapes equals the one without
			plain, _ := stringOf(name)
			name = jsontext.Value(`"` + plain + `"`)
		}
		n, known := i.byName[string(name[1:len(name)-1])] // no alloc
		if !known {
			if err := p.dec.SkipValue(); err != nil {
				return syntaxProblem(&p.dec, err)
			}
			continue
		}
		val, err := p.dec.ReadValue()
		if err != nil {
			return syntaxProblem(&p.dec, err)
		}
		if wrong := i.Fields[n].set(data, val); wrong != "" {
			return problemf(CodeSchemaViolation, "/data/"+i.Fields[n].Name, "%s %s", i.Fields[n].Name, wrong)
		}
		seen |= 1 << n
	}
	if _, err := p.dec.ReadToken(); err != nil {
		return syntaxProblem(&p.dec, err)
	}
	if p.dec.PeekKind() != 0 || p.buf.Len() > 0 {
		return problemf(CodeSchemaViolation, "/data", "data must be one JSON object, more follows it")
	}
	for n := range i.Fields {
		if i.Fields[n].Required && seen&(1<<n) == 0 {
			return problemf(CodeSchemaViolation, "/data/"+i.Fields[n].Name, "%s is required", i.Fields[n].Name)
		}
	}
	return nil
}

func syntaxProblem(dec *jsontext.Decoder, err error) error {
	return problemf(CodeSchemaViolation, "/data"+string(dec.StackPointer()), "data is not valid JSON: %v", err)
}

// set stores a JSON value in the field of data. It returns what is wrong with it, or "".
func (f *Field) set(data any, val jsontext.Value) string {
	switch f.Kind {
	case String:
		s, wrong := stringOf(val)
		if wrong == "" {
			wrong = f.checkString(s)
		}
		*ptr[string](f, data) = s
		return wrong
	case Time:
		s, wrong := stringOf(val)
		if wrong != "" {
			return wrong
		}
		t, err := ParseTime(s)
		if err != nil {
			return err.Error()
		}
		if wrong := wrongYear(s); wrong != "" {
			return wrong
		}
		*ptr[time.Time](f, data) = inUTC(t)
		return ""
	case Bool:
		if k := val.Kind(); k != 't' && k != 'f' {
			return "must be true or false"
		}
		*ptr[bool](f, data) = val.Kind() == 't'
		return ""
	default:
		n, wrong := intOf(val)
		if wrong == "" {
			wrong = f.checkInt(n)
		}
		*ptr[int64](f, data) = n
		return wrong
	}
}

func stringOf(val jsontext.Value) (string, string) {
	if val.Kind() != '"' {
		return "", "must be a string"
	}
	if bytes.IndexByte(val, '\\') < 0 {
		return string(val[1 : len(val)-1]), ""
	}
	b, err := jsontext.AppendUnquote(nil, val)
	if err != nil {
		return "", "must be a string"
	}
	return string(b), ""
}

// intOf accepts integers as JSON Schema defines them: 5, and also 5.0 and 5e0.
func intOf(val jsontext.Value) (int64, string) {
	if val.Kind() != '0' {
		return 0, "must be an integer"
	}
	if n, err := strconv.ParseInt(string(val), 10, 64); err == nil {
		return n, ""
	}
	n, ok := wholeNumber(string(val))
	if !ok {
		return 0, fmt.Sprintf("must be a 64-bit integer, is %s", clip(string(val)))
	}
	return n, ""
}

// wholeNumber reads a JSON number exactly: float64 would change an amount of more than 15
// digits.
func wholeNumber(s string) (int64, bool) {
	mantissa, exponent, _ := strings.Cut(strings.ToLower(s), "e")
	digits, negative := strings.CutPrefix(mantissa, "-")
	whole, fraction, _ := strings.Cut(digits, ".")
	shift := 0
	if exponent != "" {
		var err error
		if shift, err = strconv.Atoi(exponent); err != nil {
			return 0, false
		}
	}
	all := strings.TrimLeft(whole+fraction, "0")
	if all == "" {
		return 0, true
	}
	kept := strings.TrimRight(all, "0")
	zeros := shift - len(fraction) + len(all) - len(kept)
	if zeros < 0 || len(kept)+zeros > 19 {
		return 0, false
	}
	if all = kept + strings.Repeat("0", zeros); negative {
		all = "-" + all
	}
	n, err := strconv.ParseInt(all, 10, 64)
	return n, err == nil
}

// jsonDepth returns the deepest nesting of brackets outside strings, or an upper bound of at
// most MaxDepth.
func jsonDepth(b []byte) (max int) {
	if n := bytes.Count(b, []byte{'{'}) + bytes.Count(b, []byte{'['}); n <= MaxDepth {
		return n // an upper bound suffices
	}
	depth, inString := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if depth++; depth > max {
				max = depth
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return max
}
