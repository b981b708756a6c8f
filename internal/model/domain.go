package model

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"

	"pitboss/internal/event"
)

// Domain describes the players that a model was trained on. A player outside it gets no
// score: marketing stops, and protection goes on.
type Domain struct {
	// Products lists the products that the player's latest round or launch may be on.
	// None: any.
	Products []string `yaml:"products,omitempty,flow" json:"products,omitempty"`
	// History lists the Ranges whose min is a minimum of history. A player below it is
	// too new for the model, as every player is at first.
	History []string `yaml:"history,omitempty,flow" json:"history,omitempty"`
	// Ranges bounds the model's own columns, by name.
	Ranges map[string]Range `yaml:"ranges,omitempty" json:"ranges,omitempty"`
}

// Range bounds a column's values. A nil limit does not bound.
type Range struct {
	Min *float64 `yaml:"min,omitempty" json:"min,omitempty"`
	Max *float64 `yaml:"max,omitempty" json:"max,omitempty"`
}

func (d *Domain) check(columns []string) error {
	if d == nil {
		return nil
	}
	if len(d.Products)+len(d.Ranges) == 0 {
		return errors.New("domain: declares nothing: give products or ranges, or leave it out")
	}
	known := strings.Split(event.Products, "|")
	for _, p := range d.Products {
		if !slices.Contains(known, p) {
			return fmt.Errorf("domain.products: %q is not a product: use some of %s", p, strings.Join(known, ", "))
		}
	}
	for name, r := range d.Ranges {
		switch {
		case !slices.Contains(columns, name) || isWord(name):
			return fmt.Errorf("domain.ranges: %q is not among the model's columns of numbers", name)
		case r.Min == nil && r.Max == nil:
			return fmt.Errorf("domain.ranges.%s: give min, max or both", name)
		case r.Min != nil && r.Max != nil && *r.Min > *r.Max:
			return fmt.Errorf("domain.ranges.%s: min %v is above max %v", name, *r.Min, *r.Max)
		}
	}
	for _, name := range d.History {
		if d.Ranges[name].Min == nil {
			return fmt.Errorf("domain.history: %q has no min among the ranges", name)
		}
	}
	return nil
}

// bound is the range of a column.
type bound struct {
	column   int
	name     string
	min, max float64
	history  bool // a value below min means that the player is too new
}

// bounds returns the domain's ranges, sorted by column.
func (d *Domain) bounds(columns []string) (out []bound) {
	if d == nil {
		return nil
	}
	for name, r := range d.Ranges {
		b := bound{column: slices.Index(columns, name), name: name, min: math.Inf(-1), max: math.Inf(1), history: slices.Contains(d.History, name)}
		if r.Min != nil {
			b.min = *r.Min
		}
		if r.Max != nil {
			b.max = *r.Max
		}
		out = append(out, b)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].column < out[j].column })
	return out
}

// tooNew is the reason (by) that outside gives for a history that is too short.
const tooNew = "history"

// outside says why a player is outside the model's domain, in words (why) and as a label
// for the metric (by). Both are empty for a player inside. The reason is tooNew only if
// there is no other.
func (m *Model) outside(numbers []float64, facts *event.Facts) (why, by string) {
	d := m.Manifest.Domain
	if d == nil {
		return "", ""
	}
	if len(d.Products) > 0 && !slices.Contains(d.Products, facts.LastProduct) {
		if facts.LastProduct == "" { // every round names its product
			return "the player has played nothing yet, and it was trained on " + strings.Join(d.Products, " and "), tooNew
		}
		return "the player plays " + facts.LastProduct + ", and it was trained on " + strings.Join(d.Products, " and "), "product"
	}
	for i := range m.bounds {
		b := &m.bounds[i]
		switch v := numbers[b.column]; {
		case v < b.min && b.history:
			if why == "" {
				why, by = fmt.Sprintf("%s is %s, and it was trained on players with at least %s", b.name, short(v), short(b.min)), tooNew
			}
		case v < b.min || v > b.max:
			return fmt.Sprintf("%s is %s, and it was trained on %s to %s", b.name, short(v), short(b.min), short(b.max)), b.name
		}
	}
	return why, by
}

func short(v float64) string { return strconv.FormatFloat(v, 'g', 6, 64) }
