package cehttp

import (
	"bytes"
	"encoding/base64"
	"maps"
	"slices"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"github.com/go-json-experiment/json/jsontext"
)

// AppendJSON appends an event in the JSON format, for tests to read it again.
func AppendJSON(dst []byte, e *ce.Event) []byte {
	attributes := map[string]string{}
	each(e, func(name, value string) { attributes[name] = value })
	dst = append(dst, '{')
	for _, name := range slices.Sorted(maps.Keys(attributes)) {
		dst, _ = jsontext.AppendQuote(dst, name)
		dst = append(dst, ':')
		dst, _ = jsontext.AppendQuote(dst, attributes[name])
		dst = append(dst, ',')
	}
	switch data := e.Data(); {
	case len(data) == 0:
		dst = dst[:len(dst)-1]
	case isJSON(e.DataContentType()) && jsontext.Value(data).IsValid():
		dst = append(append(dst, `"data":`...), bytes.TrimSpace(data)...)
	default:
		dst = append(dst, `"data_base64":"`...)
		dst = append(base64.StdEncoding.AppendEncode(dst, data), '"')
	}
	return append(dst, '}')
}
