package broker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"
)

// The log keeps an event as HTTP binary mode does: attributes as strings, data
// as bytes. So a filter sees what it would see in a cluster, where every event
// has crossed HTTP before it is filtered.
//
// Layout: format (1 byte = 1) · number of attributes · (name, value)… · number
// of headers · (name, value)… · data. Numbers are uvarints, strings are
// preceded by their length.
const recordFormat = 1

var errRecord = errors.New("broker: a record of the log cannot be read")

// appendRecord encodes e and the headers that travel with it.
func appendRecord(dst []byte, e *ce.Event, headers http.Header) ([]byte, error) {
	exts := e.Extensions()
	pairs := make([]string, 0, 16+2*len(exts))
	put := func(name, value string) {
		if value != "" {
			pairs = append(pairs, name, value)
		}
	}
	put("specversion", e.SpecVersion())
	put("id", e.ID())
	put("source", e.Source())
	put("type", e.Type())
	put("subject", e.Subject())
	put("datacontenttype", e.DataContentType())
	put("dataschema", e.DataSchema())
	if !e.Time().IsZero() {
		put("time", types.FormatTime(e.Time()))
	}
	for name, v := range exts {
		s, err := types.Format(v)
		if err != nil {
			return nil, fmt.Errorf("broker: attribute %s: %w", name, err)
		}
		put(name, s)
	}
	dst = append(dst, recordFormat)
	dst = appendPairs(dst, pairs)
	pairs = pairs[:0]
	for name, values := range headers {
		for _, v := range values {
			pairs = append(pairs, name, v)
		}
	}
	dst = appendPairs(dst, pairs)
	return append(dst, e.Data()...), nil
}

func appendPairs(dst []byte, pairs []string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(pairs)/2))
	for _, s := range pairs {
		dst = binary.AppendUvarint(dst, uint64(len(s)))
		dst = append(dst, s...)
	}
	return dst
}

// readRecord decodes what appendRecord wrote. The event's data aliases b.
func readRecord(b []byte) (ce.Event, http.Header, error) {
	if len(b) == 0 || b[0] != recordFormat {
		return ce.Event{}, nil, errRecord
	}
	attrs, rest, err := readPairs(b[1:])
	if err != nil {
		return ce.Event{}, nil, err
	}
	pairs, rest, err := readPairs(rest)
	if err != nil {
		return ce.Event{}, nil, err
	}
	headers := make(http.Header, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		headers[pairs[i]] = append(headers[pairs[i]], pairs[i+1])
	}
	e, err := eventOf(attrs)
	if err != nil {
		return ce.Event{}, nil, err
	}
	if len(rest) > 0 {
		e.DataEncoded = rest
	}
	return e, headers, nil
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

// eventOf builds an event from attributes, specversion first.
func eventOf(attrs []string) (ce.Event, error) {
	if len(attrs) < 2 || attrs[0] != "specversion" {
		return ce.Event{}, errRecord
	}
	e := ce.New(attrs[1])
	var err error
	set := func(e error) {
		if err == nil {
			err = e
		}
	}
	for i := 2; i < len(attrs); i += 2 {
		name, v := attrs[i], attrs[i+1]
		switch name {
		case "id":
			set(e.Context.SetID(v))
		case "source":
			set(e.Context.SetSource(v))
		case "type":
			set(e.Context.SetType(v))
		case "subject":
			set(e.Context.SetSubject(v))
		case "datacontenttype":
			set(e.Context.SetDataContentType(v))
		case "dataschema":
			set(e.Context.SetDataSchema(v))
		case "time":
			t, terr := types.ParseTime(v)
			set(terr)
			set(e.Context.SetTime(t))
		default:
			set(e.Context.SetExtension(name, v))
		}
	}
	if err != nil {
		return ce.Event{}, fmt.Errorf("%w: %w", errRecord, err)
	}
	return e, nil
}
