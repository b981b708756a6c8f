package event

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
	"unsafe"
)

// Kind is the type of a field, as CEL and JSON Schema see it.
type Kind uint8

const (
	String Kind = iota + 1
	Int
	Bool
	Time
)

// Field is one member of an event type's flat data. Both the check of incoming values and the
// JSON Schema are derived from it, so that they can't disagree.
type Field struct {
	Name     string
	Kind     Kind
	Doc      string
	Required bool
	Enum     []string
	Format   string // "date" or ""
	Pattern  string // regular expression, or ""
	Min, Max *int64 // of a number's value or a string's length in code points

	match  func(string) bool
	offset uintptr
}

// Value returns the field of data (a pointer to the type's Go struct):
// string, int64, bool or time.Time.
func (f *Field) Value(data any) any {
	switch f.Kind {
	case String:
		return *ptr[string](f, data)
	case Int:
		return *ptr[int64](f, data)
	case Bool:
		return *ptr[bool](f, data)
	default:
		return *ptr[time.Time](f, data)
	}
}

// Int returns an Int field of data without boxing it.
func (f *Field) Int(data any) int64 { return *ptr[int64](f, data) }

// String returns a String field of data without boxing it.
func (f *Field) String(data any) string { return *ptr[string](f, data) }

// Bool returns a Bool field of data without boxing it.
func (f *Field) Bool(data any) bool { return *ptr[bool](f, data) }

func ptr[T any](f *Field, data any) *T {
	return (*T)(unsafe.Add(reflect.ValueOf(data).UnsafePointer(), f.offset))
}

// Field finds a field by its JSON name.
func (i *Info) Field(name string) (*Field, bool) {
	n, ok := i.byName[name]
	if !ok {
		return nil, false
	}
	return &i.Fields[n], true
}

// Flat reports whether the type's data is a flat object that [Parse] checks. The data of
// player.updated, player.scored and recommendations is nested; only Pitboss's own functions
// write it.
func (i *Info) Flat() bool { return i.Fields != nil }

var patterns = map[string]string{
	"jurisdiction": `^[A-Z]{2}(-[A-Z0-9]{1,3})?$`,
	"currency":     `^[A-Z]{3}$`,
	"id":           idPattern,
}

var enums = map[string]string{
	"products": Products, "products-or-all": productsOrAll,
	"channels": channels, "channels-or-all": channelsOrAll, "categories": categories,
}

// fieldsOf reads the tags of a flat struct. It returns nil if t is nested.
func fieldsOf(t reflect.Type) []Field {
	var out []Field
	for _, sf := range reflect.VisibleFields(t) {
		if sf.Anonymous {
			continue
		}
		f := Field{Name: strings.Split(sf.Tag.Get("json"), ",")[0], Doc: sf.Tag.Get("doc")}
		switch sf.Type {
		case reflect.TypeFor[string]():
			f.Kind = String
		case reflect.TypeFor[int64]():
			f.Kind = Int
		case reflect.TypeFor[bool]():
			f.Kind = Bool
		case reflect.TypeFor[time.Time]():
			f.Kind = Time
		default:
			return nil
		}
		f.offset = offsetOf(t, sf.Index)
		for _, rule := range strings.Split(sf.Tag.Get("schema"), ",") {
			f.addRule(t, rule)
		}
		out = append(out, f)
	}
	return out
}

func offsetOf(t reflect.Type, index []int) (off uintptr) {
	for _, i := range index {
		sf := t.Field(i)
		off += sf.Offset
		t = sf.Type
	}
	return off
}

func (f *Field) addRule(t reflect.Type, rule string) {
	key, val, _ := strings.Cut(rule, "=")
	switch key {
	case "":
	case "required":
		f.Required = true
	case "min", "max":
		n, err := strconv.ParseInt(val, 10, 64)
		if err != nil {
			panic(fmt.Sprintf("event: %s.%s: bad schema tag %q", t, f.Name, rule))
		}
		if key == "min" {
			f.Min = &n
		} else {
			f.Max = &n
		}
	case "enum":
		if named, ok := enums[val]; ok {
			val = named
		}
		f.Enum = strings.Split(val, "|")
	case "format":
		f.Format = val
	case "pattern":
		f.Pattern = patterns[val]
		f.match = regexp.MustCompile(f.Pattern).MatchString
		if val == "id" {
			f.match = matchesID
		}
	default:
		panic(fmt.Sprintf("event: %s.%s: unknown schema tag %q", t, f.Name, rule))
	}
}

// checkString returns what is wrong with s, or "".
func (f *Field) checkString(s string) string {
	n := int64(len(s))
	if f.Max != nil && n > *f.Max {
		n = int64(utf8.RuneCountInString(s))
	}
	switch {
	case f.Min != nil && n < *f.Min:
		return "must not be empty"
	case f.Max != nil && n > *f.Max:
		return fmt.Sprintf("must be at most %d characters, is %d", *f.Max, n)
	case f.Enum != nil && !slices.Contains(f.Enum, s):
		return fmt.Sprintf("must be one of %s, is %q", strings.Join(f.Enum, ", "), clip(s))
	case f.Pattern == idPattern && !f.match(s):
		return "must not begin or end with a space or an invisible character, and have no control characters"
	case f.match != nil && !f.match(s):
		return fmt.Sprintf("must match %s, is %q", f.Pattern, clip(s))
	case f.Format == "date" && !isDate(s):
		return fmt.Sprintf("must be a date, YYYY-MM-DD, is %q", clip(s))
	}
	return ""
}

func (f *Field) checkInt(n int64) string {
	switch min, max := f.bounds(); {
	case n < min:
		return fmt.Sprintf("must be at least %d, is %d", min, n)
	case n > max:
		return fmt.Sprintf("must be at most %d, is %d", max, n)
	}
	return ""
}

// maxInt is the largest integer that every reader of JSON reads exactly (RFC 7493, section
// 2.2): a validator in JavaScript can't tell 2^63 from 2^63-1.
const maxInt = 1<<53 - 1

// bounds returns the bounds of an Int field.
func (f *Field) bounds() (min, max int64) {
	min, max = -maxInt, maxInt
	if f.Min != nil {
		min = *f.Min
	}
	if f.Max != nil {
		max = *f.Max
	}
	return min, max
}

func isDate(s string) bool {
	_, err := time.Parse(time.DateOnly, s)
	return err == nil
}

func clip(s string) string {
	if len(s) > 40 {
		return strings.ToValidUTF8(s[:40], "") + "…"
	}
	return s
}

// SchemaBase is the address at which ingest serves the schemas: PITBOSS_SCHEMA_BASE, or its
// address inside the cluster.
var SchemaBase = schemaBase()

func schemaBase() string {
	if base := os.Getenv("PITBOSS_SCHEMA_BASE"); base != "" {
		return strings.TrimSuffix(base, "/")
	}
	return "http://pitboss-ingest"
}

// SchemaPath returns the path at which ingest serves the schema of a type.
func SchemaPath(typ string) string { return "/schemas/" + typ + ".json" }

// SchemaURI returns the dataschema attribute of events of a type.
func SchemaURI(typ string) string { return SchemaBase + SchemaPath(typ) }

// Schema returns the JSON Schema (draft 2020-12) of the type's data, ready to
// be marshalled.
func (i *Info) Schema() map[string]any {
	doc := map[string]any{
		"$schema": "https://json-schema.org/draft/2020-12/schema",
		"$id":     SchemaURI(i.Type), "title": i.Type, "description": i.Doc,
	}
	if i.Flat() {
		doc["$comment"] = beyondSchema
	}
	for k, v := range schemaOf(i.goType) {
		doc[k] = v
	}
	return doc
}

// beyondSchema describes the checks that a JSON Schema can't express, because it applies to
// parsed JSON, not to its text.
var beyondSchema = fmt.Sprintf("Refused too, before this schema is asked: a member that comes twice on any level, however it is spelt; "+
	"text that is no UTF-8, and escapes that stand for half a surrogate pair (RFC 8259, section 8.2); a number that is no integer as it is written, "+
	"even where a double would round it to one; more than %d bytes; more than %d levels of nesting.", MaxData, MaxDepth)

func schemaOf(t reflect.Type) map[string]any {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return map[string]any{"type": "string", "format": "date-time"}
	case t.PkgPath() == "github.com/go-json-experiment/json/jsontext":
		return map[string]any{"type": "object", "additionalProperties": map[string]any{"type": "number"}}
	}
	switch t.Kind() {
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Int64, reflect.Int:
		return map[string]any{"type": "integer"}
	case reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Pointer:
		return schemaOf(t.Elem())
	case reflect.Slice:
		return map[string]any{"type": "array", "items": schemaOf(t.Elem())}
	case reflect.Map:
		if t.Elem().Kind() == reflect.Interface {
			return map[string]any{"type": "object"}
		}
		return map[string]any{"type": "object", "additionalProperties": schemaOf(t.Elem())}
	}
	if flat := fieldsOf(t); flat != nil {
		return flatSchema(flat)
	}
	props := map[string]any{}
	var required []string
	for _, sf := range reflect.VisibleFields(t) {
		if sf.Anonymous {
			continue
		}
		name, opts, _ := strings.Cut(sf.Tag.Get("json"), ",")
		props[name] = schemaOf(sf.Type)
		if !strings.Contains(opts, "omit") {
			required = append(required, name)
		}
	}
	return map[string]any{"type": "object", "properties": props, "required": required}
}

func flatSchema(fields []Field) map[string]any {
	props := map[string]any{}
	required := []string{}
	for _, f := range fields {
		p := map[string]any{}
		if f.Doc != "" {
			p["description"] = f.Doc
		}
		switch f.Kind {
		case String:
			p["type"] = "string"
			if f.Min != nil {
				p["minLength"] = *f.Min
			}
			if f.Max != nil {
				p["maxLength"] = *f.Max
			}
		case Int:
			p["type"] = "integer"
			p["minimum"], p["maximum"] = f.bounds()
		case Bool:
			p["type"] = "boolean"
		case Time:
			p["type"], p["format"], p["pattern"] = "string", "date-time", timePattern
		}
		if f.Enum != nil {
			p["enum"] = f.Enum
		}
		if f.Format == "date" {
			p["format"], p["pattern"] = "date", datePattern
		}
		if f.Pattern != "" {
			p["pattern"] = f.Pattern
		}
		props[f.Name] = p
		if f.Required {
			required = append(required, f.Name)
		}
	}
	return map[string]any{"type": "object", "properties": props, "required": required}
}
