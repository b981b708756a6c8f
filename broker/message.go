package broker

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/cloudevents/sdk-go/v2/binding"
	ce "github.com/cloudevents/sdk-go/v2/event"
	sdkhttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/cloudevents/sdk-go/v2/types"
	"golang.org/x/net/http/httpguts"

	"pitboss/internal/cache"
	"pitboss/internal/cehttp"
)

// message is an event in the Broker, in the form of HTTP binary mode: attributes as
// strings, data as bytes. A filter therefore sees what it would see in a cluster,
// where every event arrives over HTTP. A message must not change after admission:
// several Triggers read it concurrently.
type message struct {
	attrs   []string // name, value, …; specversion first; without knativebrokerttl
	headers []string // name, value, …: the headers that accompany the event
	data    []byte
	ttl     int32                    // knativebrokerttl; a reply gets one less
	plain   bool                     // version 1.0, and every attribute is a valid HTTP header value
	valid   bool                     // certainly a valid event; if false, sdk-go decides
	invalid error                    // why a reply with a Ce-Specversion header is not an event
	made    atomic.Pointer[ce.Event] // the sdk-go event, made on first use
}

var errRecord = errors.New("broker: a record of the log is unreadable")

// readHTTP reads an event of a request or reply in binary or structured mode.
func readHTTP(h http.Header, body []byte) (*message, error) {
	if h.Get("Ce-Specversion") == ce.CloudEventsVersionV03 {
		return readVersion03(h, body)
	}
	e, err := cehttp.Read(h, body)
	if err != nil {
		return nil, err
	}
	m := &message{data: e.Data, attrs: e.Attributes, headers: travellers(h)}
	for i := 0; i < len(m.attrs); i += 2 {
		m.attrs[i+1] = onWire(m.attrs[i], m.attrs[i+1])
	}
	return m, m.decode()
}

// onWire encodes an attribute as an HTTP header. The filters of a cluster's Broker
// see this form, and it is sent to subscribers unchanged.
func onWire(name, value string) string {
	if name == "datacontenttype" {
		return value
	}
	return cehttp.Encode(value)
}

// offWire decodes what onWire encoded.
func offWire(name, value string) string {
	if name == "datacontenttype" {
		return value
	}
	if v, err := cehttp.Decode(value); err == nil {
		return v
	}
	return value
}

// travellers returns the headers that accompany an event to its next hop.
func travellers(h http.Header) (travel []string) {
	for name, values := range h {
		if !strings.HasPrefix(name, "Ce-") && name != "Content-Type" && travels(name) {
			for _, v := range values {
				travel = append(travel, name, v)
			}
		}
	}
	return travel
}

// valueOf returns the value of the first such name in name, value, …, or "".
func valueOf(pairs []string, name string) string {
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i] == name {
			return pairs[i+1]
		}
	}
	return ""
}

const specversion = "specversion"

// readVersion03 reads an event of CloudEvents 0.3 in binary mode, because Knative's
// Broker accepts it.
func readVersion03(h http.Header, body []byte) (*message, error) {
	e, err := binding.ToEvent(context.Background(), sdkhttp.NewMessage(h, io.NopCloser(bytes.NewReader(body))))
	if err != nil {
		return nil, err
	}
	return messageOf(e, travellers(h))
}

// messageOf makes a message of an event.
func messageOf(e *ce.Event, headers []string) (*message, error) {
	out := cehttp.MessageOf(e)
	m := &message{headers: headers, data: out.Data, attrs: out.Attributes}
	for i := 0; i < len(m.attrs); i += 2 {
		m.attrs[i+1] = onWire(m.attrs[i], m.attrs[i+1])
	}
	return m, m.decode()
}

// adopt keeps a copy of the event from which the message was made, so that event
// need not make it again. It does so only if all extensions are strings, as in an
// event that event makes.
func (m *message) adopt(e *ce.Event) {
	c, ok := e.Context.(*ce.EventContextV1)
	if !ok || !m.valid {
		return
	}
	for _, v := range c.Extensions {
		if _, text := v.(string); !text {
			return
		}
	}
	m.made.Store(withOwn(c, m.data))
}

// withOwn returns an event whose context is a copy of c.
func withOwn(c *ce.EventContextV1, data []byte) *ce.Event {
	own := *c
	own.Extensions = maps.Clone(c.Extensions)
	return &ce.Event{Context: &own, DataEncoded: data}
}

// own returns a copy of the event whose attributes the caller may change. It shares
// the data.
func (m *message) own() (*ce.Event, error) {
	made := m.made.Load()
	if made == nil {
		return m.make()
	}
	c, ok := made.Context.(*ce.EventContextV1)
	if !ok {
		e := made.Clone()
		return &e, nil
	}
	return withOwn(c, made.DataEncoded), nil
}

// travels reports whether Knative's Broker passes a header on with the event
// (knative.dev/eventing/pkg/utils, PassThroughHeaders).
func travels(name string) bool {
	name = strings.ToLower(name)
	return name == "x-request-id" || name == "retry-after" || strings.HasPrefix(name, "knative-") || strings.HasPrefix(name, "x-b3-")
}

// decode checks the attributes. It decides the common cases itself and leaves all
// others, and every error, to sdk-go.
func (m *message) decode() error {
	if len(m.attrs) < 2 || m.attrs[0] != specversion {
		return errRecord
	}
	m.plain = m.attrs[1] == ce.CloudEventsVersionV1
	m.valid = m.plain
	required := 0
	for i := 2; i < len(m.attrs); i += 2 {
		name, v := m.attrs[i], m.attrs[i+1]
		m.plain = m.plain && httpguts.ValidHeaderFieldValue(v)
		switch name {
		case "id", "type", "source":
			required++
			m.valid = m.valid && strings.TrimSpace(v) != "" && (name != "source" || validSource.Get(v))
		case "subject":
			m.valid = m.valid && strings.TrimSpace(v) != ""
		case "datacontenttype":
			m.valid = m.valid && v == ce.ApplicationJSON
		case "dataschema":
			m.valid = m.valid && validSchema.Get(v)
		case "time":
			t, err := types.ParseTime(v)
			if err != nil {
				return fmt.Errorf("attribute time: %w", err)
			}
			if !formatted(v) {
				m.attrs[i+1] = types.FormatTime(t) // as sdk-go writes it
			}
		default:
			m.valid = m.valid && ce.IsExtensionNameValid(name)
		}
	}
	m.valid = m.valid && required == 3
	if m.valid {
		return nil
	}
	_, err := m.make()
	return err
}

// The checks of sources and schemas are cached, because few different ones occur.
var (
	validSource = cache.New(1024, strings.Clone, func(s string) bool { return types.ParseURIRef(s) != nil })
	validSchema = cache.New(1024, strings.Clone, func(s string) bool { u := types.ParseURI(s); return u != nil && u.Validate() })
)

// formatted reports whether a valid time certainly has the form that types.FormatTime
// writes: RFC 3339 in UTC, without trailing zeros in the fraction.
func formatted(v string) bool {
	last := len(v) - 1
	return len(v) >= 20 && v[10] == 'T' && v[last] == 'Z' && (last == 19 || v[19] == '.' && last > 20 && last < 30 && v[last-1] != '0')
}

// event returns the message as an sdk-go event, which it makes on first use.
func (m *message) event() ce.Event {
	e := m.made.Load()
	if e == nil {
		e, _ = m.make() // decode has refused a message for which this fails
		m.made.Store(e)
	}
	return *e
}

func (m *message) make() (*ce.Event, error) {
	if m.valid {
		read := cehttp.Message{Attributes: slices.Clone(m.attrs), Data: m.data}
		for i := 0; i < len(m.attrs); i += 2 {
			read.Attributes[i+1] = offWire(m.attrs[i], m.attrs[i+1])
		}
		return read.Event(), nil
	}
	e := ce.New(m.attrs[1])
	if e.Context == nil {
		return &e, fmt.Errorf("specversion is %q", m.attrs[1])
	}
	for i := 2; i < len(m.attrs); i += 2 {
		if err := setAttribute(e.Context, m.attrs[i], offWire(m.attrs[i], m.attrs[i+1])); err != nil {
			return &e, fmt.Errorf("attribute %s: %w", m.attrs[i], err)
		}
	}
	if len(m.data) > 0 {
		e.DataEncoded = m.data
	}
	return &e, nil
}

func setAttribute(c ce.EventContext, name, v string) error {
	switch name {
	case "id":
		return c.SetID(v)
	case "source":
		return c.SetSource(v)
	case "type":
		return c.SetType(v)
	case "subject":
		return c.SetSubject(v)
	case "datacontenttype":
		return c.SetDataContentType(v)
	case "dataschema":
		return c.SetDataSchema(v)
	case "time":
		t, err := types.ParseTime(v)
		if err != nil {
			return err
		}
		return c.SetTime(t)
	}
	return c.SetExtension(name, v)
}

// drop removes an extension and returns its value. Like set, it may be called only
// before the message is shared.
func (m *message) drop(name string) (value string) {
	for i := 2; i < len(m.attrs); i += 2 {
		if m.attrs[i] == name {
			value = m.attrs[i+1]
			m.attrs = append(m.attrs[:i], m.attrs[i+2:]...)
			if e := m.made.Load(); e != nil {
				_ = e.Context.SetExtension(name, nil)
			}
			return value
		}
	}
	return ""
}

// set adds an extension.
func (m *message) set(name, value string) {
	m.attrs = append(m.attrs, name, value)
	if e := m.made.Load(); e != nil {
		_ = e.Context.SetExtension(name, value)
	}
}

// attribute returns the value of an attribute, or "".
func (m *message) attribute(name string) string { return valueOf(m.attrs, name) }

// size returns roughly the memory of the message in bytes.
func (m *message) size() int64 {
	return int64(len(m.data)) + int64(len(m.attrs)+len(m.headers))*32 + 512
}

// recordFormat is the first byte of a record.
//
// Layout: format · ttl · number of attributes · (name, value)… · number of
// headers · (name, value)… · data. Numbers are uvarints, strings are preceded
// by their length.
const recordFormat = 2

// appendRecord encodes the message for the log.
func (m *message) appendRecord(dst []byte) []byte {
	dst = append(dst, recordFormat)
	dst = binary.AppendUvarint(dst, uint64(m.ttl))
	dst = appendPairs(dst, m.attrs)
	dst = appendPairs(dst, m.headers)
	return append(dst, m.data...)
}

func appendPairs(dst []byte, pairs []string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(pairs)/2))
	for _, s := range pairs {
		dst = binary.AppendUvarint(dst, uint64(len(s)))
		dst = append(dst, s...)
	}
	return dst
}

// readRecord decodes what appendRecord wrote. The message's data aliases b.
func readRecord(b []byte) (*message, error) {
	if len(b) == 0 || b[0] != recordFormat {
		return nil, errRecord
	}
	ttl, w := binary.Uvarint(b[1:])
	if w <= 0 || ttl > math.MaxInt32 { // a producer can set a higher TTL than the default
		return nil, errRecord
	}
	m := &message{ttl: int32(ttl)}
	var err error
	if m.attrs, b, err = readPairs(b[1+w:]); err != nil {
		return nil, err
	}
	if m.headers, m.data, err = readPairs(b); err != nil {
		return nil, err
	}
	if err := m.decode(); err != nil {
		return nil, fmt.Errorf("%w: %w", errRecord, err)
	}
	return m, nil
}

func readPairs(b []byte) (pairs []string, rest []byte, err error) {
	n, w := binary.Uvarint(b)
	if w <= 0 || n > uint64(len(b)) {
		return nil, nil, errRecord
	}
	b = b[w:]
	pairs = make([]string, 0, 2*n)
	for range 2 * n {
		l, w := binary.Uvarint(b)
		if w <= 0 || l > uint64(len(b)-w) {
			return nil, nil, errRecord
		}
		pairs = append(pairs, string(b[w:w+int(l)]))
		b = b[w+int(l):]
	}
	return pairs, b, nil
}
