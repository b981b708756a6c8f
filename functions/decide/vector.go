package decide

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"pitboss/internal/event"
)

// vector reads the event's features into the order of names. The event has them in the
// same order, unless it was made with another features.yaml, as while two releases
// overlap. vector then skips features that names does not have. A feature that the
// event lacks gets its value from empty, the features of a player without events, and
// is listed in missing: rules that read it are in doubt.
func vector(raw jsontext.Value, names []string, empty []float64) (values []float64, missing []string, err error) {
	values = make([]float64, 0, len(names))
	if fast, ok := asWritten(values, raw, names); ok {
		return fast, nil, nil
	}
	var byName map[string]*float64 // null is no number
	if err := json.Unmarshal(raw, &byName); err != nil {
		return nil, nil, fmt.Errorf("decide: features: %w", err)
	}
	if byName == nil {
		return nil, nil, errors.New("decide: features: want an object")
	}
	for name, v := range byName {
		if v == nil {
			return nil, nil, fmt.Errorf("decide: features/%s: want a number", name)
		}
	}
	for i, name := range names {
		if v := byName[name]; v != nil {
			values = append(values, *v)
			continue
		}
		values, missing = append(values, empty[i]), append(missing, name)
	}
	return values, missing, nil
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
