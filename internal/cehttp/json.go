package cehttp

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"pitboss/internal/event"
)

// ReadJSON reads one event in the JSON format: the body of a request in structured mode, or a
// line of a recording. Only white space may follow it, and no member may occur twice, with or
// without escapes in its name. The error is a [Problems]. The message's data aliases text.
func ReadJSON(text []byte) (*Message, error) {
	d := newJSONReader(text)
	r := d.event("")
	if r.wrong == nil {
		r.wrong = d.end("event")
	}
	if r.wrong != nil {
		return nil, r.wrong
	}
	return &r.Message, nil
}

// ReadBatch reads a JSON array of 1 to most events. The error is a [Problems] with the problems
// of all events, up to the first JSON syntax error. Their pointers begin with the event's
// index.
func ReadBatch(text []byte, most int) ([]*Message, error) {
	d := newJSONReader(text)
	if d.dec.PeekKind() != '[' {
		return nil, Problems{problem("", "the body is no JSON array of events")}
	}
	_, _ = d.dec.ReadToken()
	var list []*Message
	var wrong Problems
	for i := 0; d.broken == nil && d.dec.PeekKind() != ']'; i++ {
		if i == most {
			return nil, Problems{{Code: event.CodeTooLarge, Detail: fmt.Sprintf("a batch may hold %d events, this one holds more", most)}}
		}
		r := d.event("/" + strconv.Itoa(i))
		wrong = append(wrong, r.wrong...)
		list = append(list, &r.Message)
	}
	if d.broken == nil {
		if _, err := d.dec.ReadToken(); err != nil {
			wrong = append(wrong, d.syntax("", err))
		} else {
			wrong = append(wrong, d.end("batch")...)
		}
	}
	if wrong == nil && len(list) == 0 {
		wrong = Problems{problem("", "the batch is empty")}
	}
	if wrong != nil {
		return nil, wrong
	}
	return list, nil
}

// jsonReader reads events in the JSON format. jsontext refuses duplicate members and strings
// that are not UTF-8, at every level.
type jsonReader struct {
	text   []byte
	buf    bytes.Buffer
	dec    *jsontext.Decoder
	broken error // a syntax error, after which nothing can be read
}

func newJSONReader(text []byte) *jsonReader {
	d := &jsonReader{text: text}
	d.buf = *bytes.NewBuffer(text)
	d.dec = jsontext.NewDecoder(&d.buf)
	return d
}

// end refuses text after the event or batch.
func (d *jsonReader) end(what string) Problems {
	if _, err := d.dec.ReadToken(); !errors.Is(err, io.EOF) {
		return Problems{problem("", "one %s is expected, more follows it", what)}
	}
	return nil
}

func (d *jsonReader) syntax(at string, err error) *event.Problem {
	d.broken = err
	var s *jsontext.SyntacticError
	pointer := at
	if errors.As(err, &s) {
		if s.JSONPointer != "" {
			pointer = string(s.JSONPointer)
		}
		err = s.Err
	}
	p := problem(pointer, "not valid JSON: %v", err)
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		p.Detail = "the member comes twice"
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		p.Detail = "not valid JSON: it ends too early"
	}
	if strings.HasPrefix(pointer, at+"/data/") {
		p.Code = event.CodeSchemaViolation
	}
	return p
}

// event reads the next object. at is the JSON pointer to it.
func (d *jsonReader) event(at string) *reading {
	r := newReading(at, 12)
	if kind := d.dec.PeekKind(); kind != '{' {
		if err := d.dec.SkipValue(); err != nil {
			r.wrong = append(r.wrong, d.syntax(at, err))
		} else {
			r.wrong = append(r.wrong, problem(at, "the event is no JSON object"))
		}
		return r
	}
	_, _ = d.dec.ReadToken()
	var b body
	for d.dec.PeekKind() == '"' {
		if err := d.member(r, &b); err != nil {
			r.wrong = append(r.wrong, d.syntax(at, err))
			return r
		}
	}
	if _, err := d.dec.ReadToken(); err != nil {
		r.wrong = append(r.wrong, d.syntax(at, err))
		return r
	}
	b.into(r)
	r.done()
	return r
}

// body holds the unparsed members data and data_base64.
type body struct{ data, base64 jsontext.Value }

func (d *jsonReader) member(r *reading, b *body) error {
	token, err := d.dec.ReadToken()
	if err != nil {
		return err
	}
	name := token.String()
	val, err := d.dec.ReadValue()
	if err != nil {
		return err
	}
	end := d.dec.InputOffset()
	val = d.text[end-int64(len(val)) : end] // val is in the decoder's buffer, which is reused
	switch name {
	case "data":
		b.data = val
	case "data_base64":
		b.base64 = val
	default:
		r.member(name, val)
	}
	return nil
}

// member adds an attribute in its JSON type (CloudEvents' JSON format, section 2.2). null
// counts as absent.
func (r *reading) member(name string, val jsontext.Value) {
	switch kind := val.Kind(); {
	case kind == 'n':
	case kind == '"':
		s, err := jsontext.AppendUnquote(nil, val)
		if err != nil {
			r.refuse(pointerToken(name), "%s is no string: %v", name, err)
			return
		}
		r.put(name, string(s))
	case core[name]:
		r.refuse(name, "%s must be a string", name)
	case kind == 't' || kind == 'f':
		r.put(name, string(val))
	case kind == '0':
		if n, err := strconv.ParseInt(string(val), 10, 32); err != nil || string(val) != strconv.FormatInt(n, 10) {
			r.refuse(pointerToken(name), "%s must be a whole number of at most 32 bits, or a string", name)
			return
		}
		r.put(name, string(val))
	default:
		r.refuse(pointerToken(name), "%s must be a string, a number, true or false", name)
	}
}

// core lists the attributes that CloudEvents itself defines. All are strings.
var core = map[string]bool{specversion: true, "id": true, "source": true, "type": true, "subject": true, "time": true,
	"datacontenttype": true, "dataschema": true}

// into sets the data: unchanged JSON, text, or bytes.
func (b *body) into(r *reading) {
	binary := b.base64 != nil && b.base64.Kind() != 'n'
	switch {
	case binary && b.data != nil:
		r.refuse("data_base64", "data and data_base64 must not come together")
	case binary:
		text, err := jsontext.AppendUnquote(nil, b.base64)
		if err == nil {
			r.Data, err = base64.StdEncoding.Strict().AppendDecode(nil, text)
		}
		if err != nil || bytes.ContainsAny(text, "\r\n") {
			r.refuse("data_base64", "data_base64 must be a string in base64 (RFC 4648, section 4)")
		}
	case b.data == nil:
	case b.data.Kind() == '"' && !isJSON(r.Attribute("datacontenttype")):
		r.Data, _ = jsontext.AppendUnquote(nil, b.data) // the decoder has checked it
	default:
		r.Data = b.data
	}
}

// isJSON reports whether a media type is JSON. An empty one is.
func isJSON(contentType string) bool {
	if contentType == "" || contentType == "application/json" {
		return true
	}
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && (strings.HasSuffix(media, "/json") || strings.HasSuffix(media, "+json"))
}

// pointerToken escapes a member's name for a JSON pointer (RFC 6901).
func pointerToken(name string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}
