package decide

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// vector reads the event's features into the order of names. The event has
// them in the same order, unless it was made with another features.yaml, as
// while two releases overlap: then a feature that the policy does not know is
// passed over, and one that the event lacks has its value of empty, a player
// whom nothing has happened to, and is missing: rules that read it are in doubt.
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

// arrange puts named values in order, with the empty player's where one is missing.
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

// asWritten reads an object whose members are exactly names, in their order and
// without spaces, as feature.Set.AppendJSON writes it: about all there are, for
// a tenth of the time that a JSON decoder takes.
func asWritten(dst []float64, raw []byte, names []string) ([]float64, bool) {
	if len(raw) == 0 || raw[0] != '{' {
		return nil, false
	}
	raw = raw[1:]
	for i, name := range names {
		if len(raw) < len(name)+4 || raw[0] != '"' || string(raw[1:len(name)+1]) != name || raw[len(name)+1] != '"' || raw[len(name)+2] != ':' {
			return nil, false
		}
		raw = raw[len(name)+3:]
		end := bytes.IndexAny(raw[:min(len(raw), 32)], ",}")
		if end < 1 || (raw[0] != '-' && (raw[0] < '0' || raw[0] > '9')) || (raw[end] == '}') != (i == len(names)-1) {
			return nil, false
		}
		v, err := strconv.ParseFloat(string(raw[:end]), 64)
		if err != nil {
			return nil, false
		}
		dst, raw = append(dst, v), raw[end+1:]
	}
	return dst, len(raw) == 0
}
