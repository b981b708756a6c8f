package event

import (
	"strings"
	"unicode/utf8"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"github.com/go-json-experiment/json/jsontext"
)

// Shown returns e in a form that can be embedded in a JSON document, whatever its data is. Data
// that does not match its content type is written as data_base64. sdk-go would write it as it
// is and make the whole document unreadable.
func Shown(e ce.Event) ce.Event {
	data := e.Data()
	if len(data) == 0 {
		return e
	}
	mediaType, _, _ := strings.Cut(e.DataContentType(), ";")
	lower := strings.ToLower(mediaType)
	switch asJSON := lower == "" || strings.HasSuffix(strings.TrimSpace(lower), "json"); {
	case asJSON && mediaType == lower && jsontext.Value(data).IsValid(): // sdk-go can't read what it writes for Application/JSON
		return e
	case !asJSON && utf8.Valid(data):
		return e
	}
	shown := e.Clone()
	shown.DataBase64 = true
	if shown.SpecVersion() == ce.CloudEventsVersionV03 {
		shown.SetDataContentEncoding(ce.Base64)
	}
	return shown
}
