package ingest

import (
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"pitboss/internal/event"
)

// problem is an RFC 9457 problem detail.
type problem struct {
	Type   string       `json:"type"`
	Title  string       `json:"title"`
	Status int          `json:"status"`
	Detail string       `json:"detail"`
	Code   string       `json:"code"`
	Errors []fieldError `json:"errors,omitempty"`
}

// fieldError is one wrong field. Pointer is an RFC 6901 pointer into the event; in a
// batch it begins with the event's index.
type fieldError struct {
	Pointer string `json:"pointer"`
	Code    string `json:"code"`
	Detail  string `json:"detail"`
}

func writeProblem(w http.ResponseWriter, status int, code, detail string, errs []fieldError) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.MarshalWrite(w, problem{
		Type: "/problems/" + code, Title: strings.ReplaceAll(code, "-", " "),
		Status: status, Detail: detail, Code: code, Errors: errs,
	})
}

// serveSchemas answers GET /schemas (the catalogue) and /schemas/<type>.json.
func serveSchemas(w http.ResponseWriter, r *http.Request) {
	name := strings.Trim(strings.TrimPrefix(r.URL.Path, "/schemas"), "/")
	if name == "" {
		type entry struct {
			Type      string          `json:"type"`
			Direction event.Direction `json:"direction"`
			Doc       string          `json:"doc"`
			Schema    string          `json:"schema"`
		}
		var list []entry
		for _, i := range event.Types() {
			list = append(list, entry{i.Type, i.Direction, i.Doc, event.SchemaPath(i.Type)})
		}
		writeJSON(w, "application/json", list)
		return
	}
	info, ok := event.Lookup(strings.TrimSuffix(name, ".json"))
	if !ok {
		writeProblem(w, http.StatusNotFound, event.CodeUnknownType, "no such event type; GET /schemas lists them", nil)
		return
	}
	writeJSON(w, "application/schema+json", info.Schema())
}

func writeJSON(w http.ResponseWriter, contentType string, v any) {
	w.Header().Set("Content-Type", contentType)
	_ = json.MarshalWrite(w, v, json.Deterministic(true), jsontext.WithIndent("  "))
}
