package decide

import (
	"bytes"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
)

// vector reads the event's features into the order of names. The event has
// them in the same order, unless it was made with another features.yaml: then
// a feature that the policy does not know is passed over, and one that the
// event lacks is an error.
func vector(dst []float64, raw jsontext.Value, names []string) ([]float64, error) {
	dec := jsontext.NewDecoder(bytes.NewBuffer(raw))
	if tok, err := dec.ReadToken(); err != nil || tok.Kind() != '{' {
		return nil, fmt.Errorf("decide: features: want an object")
	}
	var stray map[string]float64
	for dec.PeekKind() == '"' {
		name, err := dec.ReadValue()
		if err != nil {
			return nil, fmt.Errorf("decide: features: %w", err)
		}
		key := name[1 : len(name)-1]
		next := len(dst)
		inOrder := stray == nil && next < len(names) && string(key) == names[next]
		var stable string
		if !inOrder {
			stable = string(key)
		}
		tok, err := dec.ReadToken()
		if err != nil || tok.Kind() != '0' {
			return nil, fmt.Errorf("decide: features%s: want a number", dec.StackPointer())
		}
		value, err := tok.Float()
		if err != nil {
			return nil, fmt.Errorf("decide: features%s: %w", dec.StackPointer(), err)
		}
		if inOrder {
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
		dst = dst[:0]
		for _, n := range names {
			v, ok := stray[n]
			if !ok {
				return nil, fmt.Errorf("decide: the event lacks feature %s: it was made with another features.yaml", n)
			}
			dst = append(dst, v)
		}
	}
	if len(dst) < len(names) {
		return nil, fmt.Errorf("decide: the event lacks feature %s: it was made with another features.yaml", names[len(dst)])
	}
	return dst, nil
}
