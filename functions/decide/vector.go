package decide

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"pitboss/internal/event"
)

// vector reads the event's features into the order of names. The event has them in the
// same order, unless it was made with another features.yaml, as while two releases
// overlap. vector then skips features that names does not have. A feature that the
// event lacks gets its value from empty, the features of a player without events, and
// is listed in missing: rules that read it are in doubt.
func vector(dst []float64, raw jsontext.Value, names []string, empty []float64) (values []float64, missing []string, err error) {
	if fast, ok := asWritten(dst, raw, names); ok {
		return fast, nil, nil
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(raw))
	if tok, err := dec.ReadToken(); err != nil || tok.Kind() != '{' {
		return nil, nil, fmt.Errorf("decide: features: want an object")
	}
	var stray map[string]float64
	for dec.PeekKind() == '"' {
		name, err := dec.ReadValue()
		if err != nil {
			return nil, nil, fmt.Errorf("decide: features: %w", err)
		}
		key := name[1 : len(name)-1]
		next := len(dst)
		expected := stray == nil && next < len(names) && string(key) == names[next]
		var stable string
		if !expected {
			stable = string(key)
		}
		tok, err := dec.ReadToken()
		if err != nil || tok.Kind() != '0' {
			return nil, nil, fmt.Errorf("decide: features%s: want a number", dec.StackPointer())
		}
		value, err := tok.Float()
		if err != nil {
			return nil, nil, fmt.Errorf("decide: features%s: %w", dec.StackPointer(), err)
		}
		if expected {
			dst = append(dst, value)
			continue
		}
		if stray == nil {
			stray = map[string]float64{}
			for i, v := range dst {
				stray[names[i]] = v
			}
		}
		stray[stable] = value
	}
	if stray != nil {
		values, missing = arrange(dst[:0], stray, names, empty)
		return values, missing, nil
	}
	missing = append(missing, names[len(dst):]...)
	return append(dst, empty[len(dst):]...), missing, nil
}

// arrange puts named values in the order of names, and those of empty where one is
// missing.
func arrange(dst []float64, stray map[string]float64, names []string, empty []float64) (values []float64, missing []string) {
	for i, n := range names {
		v, ok := stray[n]
		if !ok {
			v, missing = empty[i], append(missing, n)
		}
		dst = append(dst, v)
	}
	return dst, missing
}

// asWritten reads features that feature.Set.AppendJSON wrote with exactly these names,
// in this order. Nearly all are.
func asWritten(dst []float64, raw []byte, names []string) ([]float64, bool) {
	for i, want := range names {
		name, number, rest, ok := event.NextFeature(raw)
		if !ok || string(name) != want || (rest[0] == '}') != (i == len(names)-1) {
			return nil, false
		}
		v, err := strconv.ParseFloat(string(number), 64)
		if err != nil {
			return nil, false
		}
		dst, raw = append(dst, v), rest
	}
	return dst, len(raw) == 1
}
