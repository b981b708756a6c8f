package spec

import (
	"reflect"
	"strings"

	"sigs.k8s.io/yaml"
)

// Undecodable turns the error err of decoding text into obj into a Problem. A strict
// decoder reports an unknown field without its path; Undecodable finds the path and
// suggests a known field with a similar name.
func Undecodable(file string, text []byte, obj any, err error, remedy string) *Problem {
	p := &Problem{File: file, Where: fieldOf(err), Detail: cleanYAML(err), Remedy: remedy}
	var doc any
	if p.Where == "" || yaml.Unmarshal(text, &doc) != nil {
		return p
	}
	if path, known, ok := locate(doc, reflect.TypeOf(obj), p.Where[strings.LastIndexByte(p.Where, '.')+1:]); ok {
		p.Detail, p.Remedy = "there is no such field", remedy+Nearest(path[len(path)-1], known)
		p.Where = strings.Join(path, ".")
	}
	return p
}

// locate finds the first field called name in doc that type t does not have. known
// lists the fields that t has at that place.
func locate(doc any, t reflect.Type, name string) (path, known []string, ok bool) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch d := doc.(type) {
	case []any:
		if t.Kind() != reflect.Slice {
			return nil, nil, false
		}
		for _, e := range d {
			if path, known, ok = locate(e, t.Elem(), name); ok {
				return path, known, true
			}
		}
	case map[string]any:
		fields := map[string]reflect.Type{}
		if t.Kind() == reflect.Struct {
			fieldsOf(t, fields)
		}
		if len(fields) == 0 {
			return nil, nil, false // t is a map, or a type that decodes itself
		}
		for key, value := range d {
			sub, has := fields[key]
			if !has && key == name {
				for k := range fields {
					known = append(known, k)
				}
				return []string{key}, known, true
			}
			if !has {
				continue
			}
			if path, known, ok = locate(value, sub, name); ok {
				return append([]string{key}, path...), known, true
			}
		}
	}
	return nil, nil, false
}

// fieldsOf lists a struct's fields by their name in JSON, including those of
// embedded structs.
func fieldsOf(t reflect.Type, into map[string]reflect.Type) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		embedded := f.Type
		for embedded.Kind() == reflect.Pointer {
			embedded = embedded.Elem()
		}
		switch {
		case name == "" && f.Anonymous && embedded.Kind() == reflect.Struct:
			fieldsOf(embedded, into)
		case name != "" && name != "-":
			into[name] = f.Type
		}
	}
}
